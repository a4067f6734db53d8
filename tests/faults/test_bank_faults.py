"""Rows 1 to 4: whatever happens to Redis, every request is answered, with the user's own scores or the default's."""

import random
import time
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from tests.bank.proxy import Proxy
from tests.bank.readers import USERS, publish, with_reader
from tests.fixtures.serving import RECORDS, Serve
from tests.fixtures.serving import publish as publish_tiny
from tests.fixtures.tiny_release import TinyRelease
from userip.bank.backends.redis.reader import RedisReader
from userip.bank.errors import BankUnavailableError, RecordError
from userip.bank.record import Record
from userip.loadtests.faults.lookups import publish_planted, storm
from userip.loadtests.servers.redis_server import RedisServer

ASKED = ["plain", "i5"]
KNOWN = [user_id for user_id in RECORDS if not user_id.startswith("impossible")]


def outcome(client: TestClient, tiny: TinyRelease, user_id: str = "u1") -> str:
    """What one answer says of the profile; its scores must be those of this user, or of the default."""
    answer = client.post("/score", json={"user_id": user_id, "item_ids": ASKED})
    assert answer.status_code == 200, answer.text
    document = answer.json()
    record = RECORDS[user_id]
    wanted = tiny.expected(ASKED, record.row, record.codes) if document["profile"] == "known" else tiny.expected(ASKED)
    assert document["scores"] == pytest.approx(list(wanted), abs=1e-6)
    return str(document["profile"])


def until(client: TestClient, tiny: TinyRelease, wanted: str) -> None:
    """Ask until the answer says `wanted`."""
    begun = time.monotonic()
    while outcome(client, tiny) != wanted:
        assert time.monotonic() - begun < 20
        time.sleep(0.02)


@pytest.fixture
def server(start_redis: Callable[..., RedisServer], tiny: TinyRelease) -> RedisServer:
    """A redis-server of this test with the tiny release."""
    started = start_redis()
    publish_tiny(started.url, tiny.name)
    return started


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """The way to it, with faults."""
    with Proxy(server.port) as opened:
        yield opened


def test_row_1_redis_stands_still(serve: Serve, server: RedisServer, tiny: TinyRelease) -> None:
    """SIGSTOP: answers say `unavailable`; with a cache, who was asked for stays known; after SIGCONT all are known."""
    bare = serve(server.url, cache_records=0, cache_ttl_seconds=0.01, bank_deadline_ms=200)
    cached = serve(server.url, cache_ttl_seconds=0.01, bank_deadline_ms=200)
    until(bare, tiny, "known")
    until(cached, tiny, "known")
    server.pause()
    try:
        assert [outcome(bare, tiny) for _ in range(10)] == ["unavailable"] * 10
        assert [outcome(cached, tiny) for _ in range(10)] == ["known"] * 10
        assert outcome(cached, tiny, "u2") == "unavailable"
        assert bare.get("/readyz").status_code == 503
    finally:
        server.resume()
    until(bare, tiny, "known")
    assert bare.get("/readyz").status_code == 200


def test_row_2_redis_comes_back_empty(serve: Serve, server: RedisServer, tiny: TinyRelease) -> None:
    """SIGKILL and a restart without data: default profiles, never a fault, not ready; published again, known again."""
    client = serve(server.url, cache_records=0)
    until(client, tiny, "known")
    server.kill()
    assert outcome(client, tiny) == "unavailable"
    assert client.get("/readyz").status_code == 503
    server.start()
    until(client, tiny, "unavailable")  # the bank answers, and has no release
    assert "holds no records" in client.get("/readyz").json()["errors"][0]["problem"]
    publish_tiny(server.url, tiny.name)
    until(client, tiny, "known")
    assert client.get("/readyz").status_code == 200


def test_row_2_flushall(serve: Serve, server: RedisServer, tiny: TinyRelease) -> None:
    """An emptied bank: default profiles at once, not ready."""
    client = serve(server.url, cache_records=0)
    until(client, tiny, "known")
    with server.client() as redis:
        redis.flushall()
    assert outcome(client, tiny) in ("default", "unavailable")
    assert client.get("/readyz").status_code == 503


def test_row_3_paused_and_killed_connections(serve: Serve, server: RedisServer, tiny: TinyRelease) -> None:
    """CLIENT PAUSE is waited for no longer than the deadline; CLIENT KILL is not noticed."""
    client = serve(server.url, cache_records=0, bank_deadline_ms=200)
    until(client, tiny, "known")
    with server.client() as redis:
        redis.client_pause(1000)
        assert outcome(client, tiny) == "unavailable"
        until(client, tiny, "known")
        for _ in range(10):
            redis.client_kill_filter(_type="normal", skipme=True)
            assert outcome(client, tiny) in ("known", "unavailable")
    until(client, tiny, "known")


def test_row_3_replies_that_are_late_swallowed_sliced_or_cut(
    serve: Serve, proxy: Proxy, tiny: TinyRelease, server: RedisServer
) -> None:
    """Through every fault in turn nobody gets another user's scores; without faults all are known again."""
    client = serve(proxy.url, cache_records=0, bank_deadline_ms=100, breaker_failures=0)
    chance = random.Random(3)
    until(client, tiny, "known")
    for number in range(60):
        proxy.delay_s = chance.choice((0, 0, 0.12))
        proxy.slice_bytes = chance.choice((1, 3, 1 << 16))
        proxy.drop_replies = chance.random() < 0.15
        proxy.reset_replies = int(chance.random() < 0.2)
        assert outcome(client, tiny, KNOWN[number % len(KNOWN)]) in ("known", "unavailable")
    proxy.delay_s, proxy.slice_bytes, proxy.drop_replies, proxy.reset_replies = 0.0, 1 << 16, False, 0
    until(client, tiny, "known")
    with server.client() as redis:
        begun = time.monotonic()
        while redis.info("clients")["connected_clients"] > 64 + 1:  # the pool's size and this client
            assert time.monotonic() - begun < 20
            time.sleep(0.1)


def test_row_3_damaged_replies(redis_url: str, redis_server: RedisServer) -> None:
    """One byte of every reply is wrong: an error, nobody, or a damaged record, but never the record of another user."""
    publish(redis_url)
    records = {Record(i + 1, (i % 7, i % 1000, 0xFFFF)): i for i in range(len(USERS.ids))}
    seen: list[object] = []

    async def read(reader: RedisReader) -> None:
        await reader.get_many("a", ["user-1"])
        faulty.corrupt = random.Random(0)
        for number in range(400):
            try:
                (found,) = await reader.get_many("a", [f"user-{number}"])
            except BankUnavailableError:
                seen.append(BankUnavailableError)
                continue
            seen.append(type(found))
            assert not isinstance(found, Record) or records.get(found, number) == number
        faulty.corrupt = None
        (found,) = await reader.get_many("a", ["user-7"])
        assert found == Record(8, (0, 7, 0xFFFF))
        assert reader.in_use == 0

    with Proxy(redis_server.port) as faulty:
        with_reader(read, faulty.url, deadline_s=0.5)
    assert {BankUnavailableError, RecordError, type(None), Record} <= set(seen)


def test_row_4_cancelled_lookups_give_everything_back(redis_url: str) -> None:
    """5,000 coalesced lookups, a third cancelled somewhere on the way: own records only, every connection back."""
    publish_planted(redis_url, 3_000)
    seen = storm(redis_url, lookups=5_000, users=3_000)
    assert (seen.wrong, seen.in_use) == (0, 0)
    assert seen.right > 3_000
    assert seen.cancelled > 100
