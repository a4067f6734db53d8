"""Clients for a Redis URL, and what their errors mean.

No client retries: a publisher fails whole and starts anew, a reader falls back to the default profile.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import redis
from redis.asyncio.connection import AbstractConnection
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from userip.bank.backends.redis.url import RedisUrl
from userip.bank.errors import BankFullError, BankRefusedError, BankUnavailableError
from userip.bank.release_meta import ReleaseMeta

SyncClient = redis.Redis | redis.RedisCluster
Pipeline = redis.client.Pipeline | redis.cluster.ClusterPipeline


def connection_settings(url: RedisUrl) -> dict[str, Any]:
    """What every connection to `url` is told, but for its timeouts and retries."""
    settings: dict[str, Any] = {
        "username": url.username,
        "password": url.password.get_secret_value() if url.password else None,
        "protocol": 2,  # RESP3 gives nothing here and costs a HELLO per connection
        "driver_info": None,  # likewise CLIENT SETINFO, which servers before 7.2 refuse
    }
    if url.socket is not None:
        settings["path"] = url.socket
    else:
        settings |= {"host": url.host, "port": url.port}
    if not url.cluster:
        settings["db"] = url.db
    if url.tls:
        settings |= {
            "ssl_cert_reqs": "none" if url.verify == "none" else "required",
            "ssl_check_hostname": url.verify == "full",
        }
        files = {"ssl_ca_certs": url.ca, "ssl_certfile": url.cert, "ssl_keyfile": url.key}
        settings |= {name: str(file) for name, file in files.items() if file is not None}
    return settings


def sync_client(url: RedisUrl, timeout_s: float) -> SyncClient:
    """A client whose every answer must come within `timeout_s`. A cluster is contacted at once."""
    settings = connection_settings(url)
    settings |= {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    settings |= {"ssl": url.tls, "retry": Retry(NoBackoff(), 0)}
    if url.tls:
        settings["redis_connect_func"] = partial(settle_tls, introduces=not url.cluster)
    if url.cluster:
        return redis.RedisCluster(**settings)
    if url.socket is not None:
        settings["unix_socket_path"] = settings.pop("path")
    return redis.Redis(**settings)


# What makes a new TLS connection ready, where nothing else is asked at its start: TLS 1.3 servers send session tickets
# behind the handshake, which redis-py takes for data that nobody asked for ("Connection not ready"). Reading an answer
# reads them too. HELLO needs no right; servers before Redis 6 do not know it, and an error is an answer as well.
_GREETING: Final = "HELLO"


def settle_tls(connection: Connection, *, introduces: bool) -> None:
    """Ask and read once on a new connection; `introduces`: log in and choose the database before."""
    if introduces:
        connection.on_connect()  # type: ignore[no-untyped-call]
    connection.send_command(_GREETING)  # type: ignore[no-untyped-call]
    with suppress(ResponseError):
        connection.read_response()


async def settle_tls_async(connection: AbstractConnection) -> None:
    """The same for an asyncio connection to one server."""
    await connection.on_connect()
    await connection.send_command(_GREETING)
    with suppress(ResponseError):
        await connection.read_response()


def meta_of(raw: Mapping[Any, Any]) -> ReleaseMeta:
    """The metadata of a release from its hash. Raises BankUnavailableError for what was damaged on the way."""
    try:
        return ReleaseMeta.model_validate({text(name): text(value) for name, value in raw.items()})
    except ValueError:  # not UTF-8, or not what pydantic expects
        raise BankUnavailableError("redis: the metadata of a release cannot be read; publish it again") from None


def text(value: bytes | str) -> str:
    """A name or number that Redis answered."""
    return value if isinstance(value, str) else value.decode()


# A right that is missing inside of a script, of which redis-py knows no error: Redis 6 to 7.0, and since.
_REFUSED_IN_SCRIPT: Final = re.compile(r"user executing the script can't|ACL failure in script")


@contextmanager
def named_errors(url: RedisUrl) -> Iterator[None]:
    """Turn redis-py's errors into the bank's, naming the server and never a password."""
    where = url.where
    try:
        yield
    except OutOfMemoryError:
        raise BankFullError(
            f"{where}: maxmemory is reached; the active release is unchanged. Free memory with `userip prune`"
        ) from None
    except (RedisError, RedisClusterException, OSError) as error:
        if (fix := _refusal(error, url)) is not None:
            raise BankRefusedError(f"{where}: access refused: {fix}") from None
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise BankUnavailableError(f"{where}: {first_line}") from None


def _refusal(error: BaseException | None, url: RedisUrl) -> str | None:
    """Who may not do what, and what to fix; None where the server does not say so."""
    while error is not None:
        if isinstance(error, AuthenticationError):
            return f"{url.login} may not log in ({error}); fix it in the bank URL (--bank or USERIP_BANK_URL)"
        if isinstance(error, NoPermissionError) or _REFUSED_IN_SCRIPT.search(str(error)):
            return f"{url.login} lacks a right ({error}); give it by ACL SETUSER, or name another user in the bank URL"
        error = error.__cause__  # a cluster's first connection: the reason is the cause of another error
    return None
