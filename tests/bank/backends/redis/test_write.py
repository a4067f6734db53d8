"""Buckets on their way into Redis: the bytes of redis-py's own commands, every user once, replies all read."""

import hashlib
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import redis
from redis.exceptions import ResponseError

from tests.bank.proxy import Proxy
from tests.fixtures.banks import make_users
from userip.bank.backends.redis.write import write_buckets
from userip.bank.batch import Batch
from userip.bank.release_records import ReleaseRecords
from userip.loadtests.servers.redis_server import RedisServer


def make_batch(users: int, slots: int = 3, floats: int | None = None, per_bucket: int = 10) -> Batch:
    """A batch with records of 9 + 2 slots + 4 floats bytes."""
    ids = make_users(users).ids
    codes = np.arange(users * slots, dtype=np.uint16).reshape(users, slots)
    vectors = None if floats is None else np.ones((users, floats), np.float32)
    return Batch.of(ReleaseRecords(ids, np.arange(users, dtype=np.uint32), codes, vectors), per_bucket)


def expected_buckets(batch: Batch) -> dict[bytes, dict[bytes, bytes]]:
    """What Redis is to hold, user by user: bucket key -> field -> record."""
    found: dict[bytes, dict[bytes, bytes]] = {}
    for place, value in zip(batch.places.tolist(), batch.records(slice(None)).tolist(), strict=True):
        field = (place & (1 << 40) - 1).to_bytes(5, "big")
        found.setdefault(b"p:%x" % (place >> 40), {})[field] = value
    return found


class Recorder:
    """Stands for a connection: digests what is sent, answers every command."""

    def __init__(self) -> None:
        self.sent = hashlib.sha256()

    def send_packed_command(self, data: list[bytes], check_health: bool) -> None:
        self.sent.update(b"".join(data))

    def read_response(self) -> int:
        return 0


@pytest.mark.parametrize(("slots", "floats"), [(2, None), (0, None), (255, None), (1, 384)])
def test_the_bytes_are_those_of_redis_py(monkeypatch: pytest.MonkeyPatch, slots: int, floats: int | None) -> None:
    """Whatever the width of a record, the wire carries what redis-py would pack for one HSET per bucket."""
    batch, recorder = make_batch(200, slots, floats), Recorder()
    with closing(redis.Redis()) as client:
        monkeypatch.setattr(client.connection_pool, "get_connection", lambda: recorder)
        monkeypatch.setattr(client.connection_pool, "release", lambda connection: None)
        assert list(write_buckets(client, b"p:", batch, 1000)) == [200]
    packer: Any = redis.Connection  # untyped
    commands = [
        b"".join(packer().pack_command("HSET", key, *(part for pair in pairs.items() for part in pair)))
        for key, pairs in expected_buckets(batch).items()
    ]
    assert recorder.sent.digest() == hashlib.sha256(b"".join(commands)).digest()


def test_memory_does_not_grow_with_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30 MB of vectors only what is on its way to the server is ever copied."""
    users, vectors, recorder = make_users(20_000), np.ones((20_000, 384), np.float32), Recorder()
    with closing(redis.Redis()) as client:
        monkeypatch.setattr(client.connection_pool, "get_connection", lambda: recorder)
        monkeypatch.setattr(client.connection_pool, "release", lambda connection: None)
        tracemalloc.start()
        try:
            batch = Batch.of(ReleaseRecords(users.ids, users.rows, users.codes, vectors), 80)
            assert list(write_buckets(client, b"p:", batch, 500))[-1] == 20_000
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 10e6  # twice a flush of 0.8 MB in its forms: records, wire, bytes


@pytest.mark.parametrize("users_per_flush", [1, 25, 10_000])
def test_every_user_is_written_once(redis_server: RedisServer, redis_url: str, users_per_flush: int) -> None:
    """However the buckets are cut into round trips, Redis holds each record at its place; the count rises to n."""
    batch = make_batch(500)
    with redis_server.client() as client:
        written = list(write_buckets(client, b"p:", batch, users_per_flush))
        stored = {key: client.hgetall(key) for key in client.scan_iter("p:*", count=1000)}
    assert stored == expected_buckets(batch)
    assert written[-1] == 500
    steps = np.diff([0, *written])
    largest = max(len(pairs) for pairs in stored.values())
    assert steps.min() > 0
    assert steps.max() <= max(users_per_flush, largest)


def test_no_users_write_nothing(redis_server: RedisServer, redis_url: str) -> None:
    """An empty release has no buckets."""
    with redis_server.client() as client:
        assert list(write_buckets(client, b"p:", make_batch(0), 100)) == []


def test_a_refused_command_leaves_no_reply_behind(redis_server: RedisServer, redis_url: str) -> None:
    """One bucket that cannot be written fails the round trip, and the connection answers the next command right."""
    batch = make_batch(500)
    with redis_server.client() as client:
        client.set(b"p:%x" % (int(batch.places[0]) >> 40), "a string, not a hash")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            list(write_buckets(client, b"p:", batch, 10_000))
        connections = client.info("clients")["connected_clients"]
        assert client.echo("still in step") == b"still in step"
        assert client.info("clients")["connected_clients"] == connections


def test_leaving_early_gives_the_connection_back(redis_server: RedisServer, redis_url: str) -> None:
    """Who stops after the first round trip has a client that still answers, and nothing more arrives."""
    batch = make_batch(500)
    with redis_server.client() as client:
        with closing(write_buckets(client, b"p:", batch, 100)) as flushes:
            first = next(flushes)
        stored = sum(client.hlen(key) for key in client.scan_iter("p:*", count=1000))
        assert stored == first
        assert client.echo("still in step") == b"still in step"


def test_a_broken_connection_is_not_used_again(start_redis: Callable[..., RedisServer]) -> None:
    """A connection that breaks among the replies is closed; the client's next command gets a new one."""
    with Proxy(start_redis().port) as proxy, closing(redis.Redis(port=proxy.port, socket_timeout=5)) as client:
        client.ping()
        proxy.reset_replies = 1
        with pytest.raises(redis.ConnectionError):
            list(write_buckets(client, b"p:", make_batch(500), 10_000))
        assert client.echo("still in step") == b"still in step"
