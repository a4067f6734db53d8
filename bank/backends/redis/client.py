"""Clients for a Redis URL, and what their errors mean.

No client retries: a publisher fails whole and starts anew, a reader falls back to the default profile.
"""

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


@contextmanager
def named_errors(where: str) -> Iterator[None]:
    """Turn redis-py's errors into the bank's, naming the server and never a password."""
    try:
        yield
    except OutOfMemoryError:
        raise BankFullError(
            f"{where}: maxmemory is reached; the active release is unchanged. Free memory with `userip prune`"
        ) from None
    except (AuthenticationError, NoPermissionError) as error:
        raise BankRefusedError(f"{where}: access refused ({error}); check user, password and ACL") from None
    except ResponseError as error:
        raise BankUnavailableError(f"{where}: {error}") from None
    except (RedisError, RedisClusterException, OSError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise BankUnavailableError(f"{where}: {first_line}") from None
