"""What is Redis's own: memory, limits, logins, TLS, sockets, clusters."""

import asyncio
import logging
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import redis

from tests.fixtures.banks import make_users
from userip.bank import Bank, Lookup, Record, open_bank, open_reader
from userip.bank.errors import BankError, BankUnavailableError
from userip.bank.release_records import ReleaseRecords
from userip.loadtests.servers.redis_server import RedisServer, free_port

USERS = make_users(300)
EXPECTED: list[Lookup] = [Record(i + 1, (i % 7, i % 1000, 0xFFFF)) for i in range(300)]
SECRET = "s3cr3t/?#@"


def check_whole_life(url: str) -> None:
    """Publish, activate, read, fold in, roll back and prune over `url`."""
    with closing(open_bank(url)) as bank:
        for release in ("a", "b"):
            USERS.publish(bank, release)
            bank.activate(release)
        bank.upsert("b", {"new": Record(0, (1, 2, 3)), "user-0": Record(1, (4, 5, 6))})
        assert [(info.name, info.users) for info in bank.releases()] == [("a", 300), ("b", 301)]

        async def read() -> tuple[str | None, list[Lookup]]:
            reader = open_reader(url, deadline_s=5)
            try:
                await reader.active()
                return await reader.active(), await reader.get_many("b", ["new", "user-1", "no", "user-0"])
            finally:
                await reader.close()

        expected = [Record(0, (1, 2, 3)), EXPECTED[1], None, Record(1, (4, 5, 6))]
        assert asyncio.run(read()) == ("b", expected)
        assert bank.rollback() == "a"
        assert bank.prune(keep=0) == ["b"]
        assert bank.get_many("a", USERS.ids) == EXPECTED


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


def test_the_service_needs_four_commands(start_redis: Callable[..., RedisServer]) -> None:
    """A reader works with an ACL that allows LINDEX, HGETALL, HGET and nothing that writes."""
    server = start_redis()
    with server.client() as client, closing(open_bank(server.url)) as bank:
        USERS.publish(bank, "a")
        bank.activate("a")
        client.acl_setuser(
            "service",
            enabled=True,
            passwords=["+pw"],
            commands=["+lindex", "+hgetall", "+hget"],
            keys=["%R~userip:*"],
        )
    url = f"redis://service:pw@127.0.0.1:{server.port}"

    async def read() -> None:
        reader = open_reader(url, deadline_s=5)
        await reader.active()
        assert await reader.active() == "a"
        assert await reader.meta("a")
        assert await reader.get_many("a", USERS.ids) == EXPECTED
        await reader.close()

    asyncio.run(read())
    with closing(open_bank(url)) as bank, pytest.raises(BankUnavailableError, match="access refused"):
        USERS.publish(bank, "b")


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


@pytest.mark.parametrize("login", [f"publisher:{quote(SECRET, safe='')}@", f":{quote(SECRET, safe='')}@", ""])
def test_a_refused_login_is_said_without_the_password(start_redis: Callable[..., RedisServer], login: str) -> None:
    """A wrong or missing password is an error of its own that names the server and shows no secret."""
    server = start_redis("--requirepass", "another")
    url = f"redis://{login}127.0.0.1:{server.port}"

    async def read() -> None:
        reader = open_reader(url, deadline_s=5)
        try:
            await reader.active()
        finally:
            await reader.close()

    with closing(open_bank(url)) as bank:
        for attempt in (bank.active, lambda: asyncio.run(read())):
            with pytest.raises(BankUnavailableError, match=r"redis at .*access refused") as caught:
                attempt()
            shown = f"{caught.value} {caught.value!r}"
            assert "s3cr3t" not in shown


def test_unix_socket(start_redis: Callable[..., RedisServer], tmp_path: Path) -> None:
    """A server's Unix socket serves like its port, with a database number."""
    socket = Path("/tmp") / f"userip-{free_port()}.sock"  # a socket's path has at most 107 bytes
    start_redis("--unixsocket", str(socket))
    try:
        check_whole_life(f"unix://{socket}?db=2")
    finally:
        socket.unlink(missing_ok=True)


FRESH = 25  # connections, of which a quarter failed before


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, and a certificate of it for 127.0.0.1: ca.crt, server.crt, server.key."""
    if shutil.which("openssl") is None:
        pytest.fail("openssl is not installed: `apt-get install openssl`", pytrace=False)
    folder = tmp_path_factory.mktemp("tls")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    # A proper authority: Python checks key usage strictly from 3.13 on.
    authority = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    for arguments in (
        [
            "req",
            "-x509",
            *new_key,
            *authority,
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
            "-days",
            "1",
            "-subj",
            "/CN=ca",
        ],
        ["req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=redis"],
        [
            *("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", "server.crt", "-days", "1", "-extfile", "names"),
        ],
    ):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    return folder


def start_with_tls(start_redis: Callable[..., RedisServer], certificates: Path, *more: str) -> int:
    """Start a redis-server with TLS; its port for it."""
    port = free_port()
    try:
        start_redis(
            *("--tls-port", str(port), "--tls-ca-cert-file", str(certificates / "ca.crt")),
            *("--tls-cert-file", str(certificates / "server.crt")),
            *("--tls-key-file", str(certificates / "server.key"), *more),
        )
    except RuntimeError as error:
        if "tls" in str(error).lower():
            pytest.skip("this redis-server is built without TLS")
        raise
    return port


def test_tls(start_redis: Callable[..., RedisServer], certificates: Path) -> None:
    """rediss:// checks the server's certificate, shows its own, and refuses a server it cannot trust."""
    port = start_with_tls(start_redis, certificates)
    own = f"cert={certificates / 'server.crt'}&key={certificates / 'server.key'}"
    trusted = f"rediss://127.0.0.1:{port}/1?ca={certificates / 'ca.crt'}&{own}"
    check_whole_life(trusted)
    for url in (f"rediss://127.0.0.1:{port}?{own}", f"redis://127.0.0.1:{port}"):
        with (
            closing(open_bank(url, timeout_s=2)) as bank,
            pytest.raises(BankUnavailableError, match="redis at"),
        ):
            bank.active()

    async def untrusted() -> None:
        reader = open_reader(f"rediss://127.0.0.1:{port}?{own}", deadline_s=2)
        try:
            await reader.active()
        finally:
            await reader.close()

    with pytest.raises(BankUnavailableError, match="redis at"):
        asyncio.run(untrusted())


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


@pytest.mark.parametrize("database", [0, 1])
@pytest.mark.parametrize("password", ["", "secret"])
def test_fresh_tls_connections_are_ready(
    start_redis: Callable[..., RedisServer], certificates: Path, password: str, database: int
) -> None:
    """Whatever is asked at their start: session tickets behind the handshake are no answer to anything."""
    rights = ("on", f">{password}", "~*", "&*", "+@all", "-ping")  # a login that may not ping
    port = start_with_tls(
        start_redis, certificates, "--tls-auth-clients", "no", *(("--user", "reader", *rights) if password else ())
    )
    login = f"reader:{password}@" if password else ""
    url = f"rediss://{login}localhost:{port}/{database}?ca={certificates / 'ca.crt'}"
    for _ in range(FRESH):
        with closing(open_bank(url)) as bank:
            assert bank.active() is None

    async def read() -> None:
        for _ in range(FRESH):
            reader = open_reader(url, deadline_s=5)
            assert await reader.active() is None
            await reader.close()

    asyncio.run(read())
