"""Banks over TLS: what is checked, and that new connections are ready."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.bank.backends.redis.whole_life import check_whole_life
from tests.fixtures.redis_cluster import make_whole
from userip.bank import open_bank, open_reader
from userip.bank.errors import BankUnavailableError
from userip.loadtests.servers.redis_server import RedisServer, free_port

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


def start_with_tls(start_redis: Callable[..., RedisServer], certificates: Path, *more: str) -> tuple[RedisServer, int]:
    """Start a redis-server with TLS; it and its port for that."""
    port = free_port()
    try:
        server = start_redis(
            *("--tls-port", str(port), "--tls-ca-cert-file", str(certificates / "ca.crt")),
            *("--tls-cert-file", str(certificates / "server.crt")),
            *("--tls-key-file", str(certificates / "server.key"), *more),
        )
    except RuntimeError as error:
        if "tls" in str(error).lower():
            pytest.skip("this redis-server is built without TLS")
        raise
    return server, port


def test_tls(start_redis: Callable[..., RedisServer], certificates: Path) -> None:
    """rediss:// checks the server's certificate, shows its own, and refuses a server it cannot trust."""
    _, port = start_with_tls(start_redis, certificates)
    own = f"cert={certificates / 'server.crt'}&key={certificates / 'server.key'}"
    trusted = f"rediss://127.0.0.1:{port}/1?ca={certificates / 'ca.crt'}&{own}"
    check_whole_life(trusted)
    for url in (f"rediss://127.0.0.1:{port}?{own}", f"redis://127.0.0.1:{port}"):
        with (
            closing(open_bank(url, timeout_s=2)) as bank,
            pytest.raises(BankUnavailableError, match="redis at"),
        ):
            bank.active()
    with pytest.raises(BankUnavailableError, match="redis at"):
        asyncio.run(active(f"rediss://127.0.0.1:{port}?{own}"))


def test_a_cluster_over_tls(start_redis: Callable[..., RedisServer], certificates: Path) -> None:
    """rediss+cluster:// speaks TLS to the nodes, bank and reader alike; without TLS nothing is answered there."""
    cluster = ("--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", str(free_port()))
    server, port = start_with_tls(start_redis, certificates, "--tls-auth-clients", "no", *cluster)
    make_whole(server)
    check_whole_life(f"rediss+cluster://127.0.0.1:{port}?ca={certificates / 'ca.crt'}")
    with pytest.raises(BankUnavailableError):
        asyncio.run(active(f"redis+cluster://127.0.0.1:{port}"))


async def active(url: str) -> str | None:
    """What the service's reader says is active."""
    reader = open_reader(url, deadline_s=2)
    try:
        return await reader.active()
    finally:
        await reader.close()


@pytest.mark.parametrize("database", [0, 1])
@pytest.mark.parametrize("password", ["", "secret"])
def test_fresh_tls_connections_are_ready(
    start_redis: Callable[..., RedisServer], certificates: Path, password: str, database: int
) -> None:
    """Whatever is asked at their start: session tickets behind the handshake are no answer to anything."""
    rights = ("on", f">{password}", "~*", "&*", "+@all", "-ping")  # a login that may not ping
    _, port = start_with_tls(
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
