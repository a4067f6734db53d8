"""What is Redis's own: memory, limits, users, sockets, clusters."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import redis

from tests.bank.backends.redis.whole_life import EXPECTED, USERS, check_whole_life
from tests.fixtures.banks import make_users
from userip.bank import Bank, Record, open_bank, open_reader
from userip.bank.errors import BankError, BankUnavailableError
from userip.bank.release_records import ReleaseRecords
from userip.loadtests.servers.redis_server import RedisServer, free_port

SECRET = "s3cr3t/?#@"


def test_users_take_at_most_32_bytes(redis_url: str, redis_server: RedisServer) -> None:
    """Buckets stay in the compact encoding; the server's own memory figure and the bank's agree."""
    count = 200_000
    codes = np.zeros((count, 2), np.uint16)
    with redis_server.client() as client:
        before = client.info("memory")["used_memory"]
        with closing(open_bank(redis_url)) as bank:
            bank.publish("a", ReleaseRecords([str(i) for i in range(count)], np.arange(count, dtype=np.uint32), codes))
        time.sleep(0.1)  # the publisher's connection and its buffers are gone
        per_user = (client.info("memory")["used_memory"] - before) / count
        encodings = {client.object("encoding", key) for key in client.scan_iter("userip:1:a:*", count=1000)}
    with closing(open_bank(redis_url)) as bank:
        (info,) = bank.releases()
    assert encodings == {b"listpack"}
    assert 20 < per_user <= 32
    assert info.bytes_per_user == pytest.approx(per_user, rel=0.15)


@pytest.mark.parametrize(("entries", "largest"), [(128, 128), (512, 128), (64, 64)])
def test_buckets_stay_below_the_servers_limit(
    start_redis: Callable[..., RedisServer], entries: int, largest: int
) -> None:
    """However the server is configured, buckets are sized for it, with room for fold-in, and no larger than useful."""
    server = start_redis("--hash-max-listpack-entries", str(entries))
    users = make_users(20_000)
    with server.client() as client, closing(open_bank(server.url)) as bank:
        users.publish(bank, "a")
        keys = list(client.scan_iter("userip:1:a:*", count=1000))
        assert max(client.hlen(key) for key in keys) <= largest
        assert sum(client.hlen(key) for key in keys) == 20_000
        assert {client.object("encoding", key) for key in keys} == {b"listpack"}


def test_long_records_are_sent_a_few_at_a_time(redis_url: str) -> None:
    """Users with 5,000 floats each go out bucket by bucket: no 6 MB wait behind one another in one step."""
    vectors = np.random.default_rng(0).normal(size=(300, 5000)).astype(np.float32)
    steps: list[int] = []
    with closing(open_bank(redis_url)) as bank:
        records = ReleaseRecords(USERS.ids, USERS.rows, USERS.codes, vectors)
        bank.publish("a", records, lambda done, total: steps.append(done))
        found = bank.get_many("a", USERS.ids)
    assert [record.vector for record in found if isinstance(record, Record)] == [row.tobytes() for row in vectors]
    assert len(steps) == 4  # 300 users are 4 buckets


def test_settings_that_cost_memory_or_records_are_warned_of(
    start_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    """A limit that is too small and a policy that drops records are named, and publishing goes on."""
    server = start_redis("--hash-max-listpack-entries", "0", "--hash-max-listpack-value", "10")
    with server.client() as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
    with caplog.at_level(logging.WARNING), closing(open_bank(server.url)) as bank:
        USERS.publish(bank, "a")
        assert bank.get_many("a", USERS.ids) == EXPECTED
    for setting in (
        "hash-max-listpack-entries",
        "hash-max-listpack-value",
        "maxmemory-policy is allkeys-lru",
    ):
        assert setting in caplog.text


def test_password_user_and_database(start_redis: Callable[..., RedisServer]) -> None:
    """An ACL user with a password of special characters works in database 3; nothing lands elsewhere."""
    server = start_redis("--requirepass", "other")
    admin = redis.Redis(port=server.port, password="other")
    admin.acl_setuser("publisher", enabled=True, passwords=[f"+{SECRET}"], categories=["+@all"], keys=["userip:*"])
    login = f"publisher:{quote(SECRET, safe='')}"
    check_whole_life(f"redis://{login}@127.0.0.1:{server.port}/3")
    assert admin.info("keyspace").keys() == {"db3"}
    admin.close()


def test_a_publisher_needs_no_right_to_look_at_the_configuration(
    start_redis: Callable[..., RedisServer],
) -> None:
    """Hosted servers refuse CONFIG and MEMORY: publishing assumes the defaults, the size is unknown."""
    server = start_redis()
    with server.client() as client:
        client.acl_setuser(
            "publisher",
            enabled=True,
            passwords=["+pw"],
            categories=["+@all"],
            commands=["-config", "-memory"],
            keys=["userip:*"],
        )
    with closing(open_bank(f"redis://publisher:pw@127.0.0.1:{server.port}")) as bank:
        USERS.publish(bank, "a")
        assert bank.releases()[0].bytes is None
        assert bank.releases()[0].bytes_per_user is None


def test_unix_socket(start_redis: Callable[..., RedisServer], tmp_path: Path) -> None:
    """A server's Unix socket serves like its port, with a database number."""
    socket = Path("/tmp") / f"userip-{free_port()}.sock"  # a socket's path has at most 107 bytes
    start_redis("--unixsocket", str(socket))
    try:
        check_whole_life(f"unix://{socket}?db=2")
    finally:
        socket.unlink(missing_ok=True)


def test_cluster(empty_redis_cluster: str, redis_cluster: list[RedisServer]) -> None:
    """A cluster of three nodes serves like a server, and a release lies on all of them."""
    with closing(open_bank(empty_redis_cluster)) as bank:
        USERS.publish(bank, "spread")
        for node in redis_cluster:
            with closing(node.client()) as client:
                assert list(client.scan_iter("userip:1:spread:*"))
        bank.activate("spread")
        USERS.publish(bank, "next")
        bank.activate("next")
        assert bank.prune(keep=0) == ["spread"]
        for node in redis_cluster:
            with closing(node.client()) as client:
                assert not list(client.scan_iter("userip:1:spread:*"))
    for node in redis_cluster:
        with closing(node.client()) as client:
            client.flushall()
    check_whole_life(empty_redis_cluster)


def test_a_cluster_that_is_away(tmp_path: Path) -> None:
    """An unreachable cluster is unavailable to bank and reader alike, within the deadline."""
    url = f"redis+cluster://127.0.0.1:{free_port()}"

    async def read() -> None:
        reader = open_reader(url, deadline_s=0.2)
        try:
            await reader.active()
        finally:
            await reader.close()

    with closing(open_bank(url, timeout_s=1)) as bank, pytest.raises(BankUnavailableError):
        bank.active()
    started = time.monotonic()
    with pytest.raises(BankUnavailableError):
        asyncio.run(read())
    assert time.monotonic() - started < 10  # the deadline is .2 s; without one it would be redis-py's retries


def test_nothing_listens(start_redis: Callable[..., RedisServer]) -> None:
    """Every method says which server does not answer."""
    bank: Bank
    with closing(open_bank(f"redis://127.0.0.1:{free_port()}")) as bank:
        for attempt in (
            bank.active,
            bank.releases,
            bank.rollback,
            bank.prune,
            lambda: USERS.publish(bank, "a"),
        ):
            with pytest.raises(BankError, match=r"redis at 127\.0\.0\.1:"):
                attempt()
