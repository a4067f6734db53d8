"""A pipelined round trip to Redis: commands out, their replies back, never mixed up.

A connection whose exchange did not end as planned (deadline, cancelled request, error) is closed before any
other can get it: a reply that comes late must not answer another request. The caller bounds the time.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import (
    BlockingConnectionPool,
    Connection,
    RedisCluster,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from userip.bank.backends.redis.client import connection_settings, settle_tls_async
from userip.bank.backends.redis.url import RedisUrl

Command = Sequence[bytes]


class ServerConnection:
    """Exchanges with one server, over a pool that lets requests wait when all connections are in use."""

    def __init__(self, url: RedisUrl, deadline_s: float, max_connections: int) -> None:
        kinds: dict[str, type[AbstractConnection]] = {
            "tcp": Connection,
            "tls": SSLConnection,
            "unix": UnixDomainSocketConnection,
        }
        self.pool = BlockingConnectionPool(
            connection_class=kinds["unix" if url.socket else "tls" if url.tls else "tcp"],
            max_connections=max_connections,
            timeout=deadline_s,
            # The caller's deadline bounds the whole exchange, connecting included. A timer per reply on top
            # of it would double the time of a batch of 50 (300 us instead of 135, measured).
            socket_timeout=None,
            socket_connect_timeout=deadline_s,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=settle_tls_async if url.tls else None,
            **connection_settings(url),
        )
        self._releasing: set[asyncio.Task[None]] = set()

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to `commands`, in order. Raises redis-py's errors."""
        connection: AbstractConnection = await self.pool.get_connection()  # type: ignore[no-untyped-call]
        clean = False
        try:
            await connection.send_packed_command(b"".join([pack(command) for command in commands]), False)
            replies = [await connection.read_response() for _ in commands]
            clean = True
            return replies
        finally:
            if not clean:
                await connection.disconnect(nowait=True)
            await self._release(connection)

    async def _release(self, connection: AbstractConnection) -> None:
        try:
            await self.pool.release(connection)
        except asyncio.CancelledError:
            # A request that is cancelled twice must still give its connection back.
            task = asyncio.ensure_future(self._release_again(connection))
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)
            raise

    async def _release_again(self, connection: AbstractConnection) -> None:
        with suppress(KeyError):  # the first time went far enough
            await self.pool.release(connection)

    @property
    def in_use(self) -> int:
        """Connections that some exchange holds at this moment."""
        return len(self.pool._in_use_connections)

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.disconnect()


class ClusterConnection:
    """Exchanges with a cluster: redis-py sends each command to the node that holds its key, all at once."""

    in_use: Final = 0  # redis-py's cluster does not tell

    def __init__(self, url: RedisUrl, deadline_s: float, max_connections: int) -> None:
        self._client = RedisCluster(
            max_connections=max_connections,
            socket_timeout=deadline_s,
            socket_connect_timeout=deadline_s,
            retry=Retry(NoBackoff(), 0),
            ssl=url.tls,
            **connection_settings(url),
        )

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to `commands`, in order. Raises redis-py's errors."""
        pipe = self._client.pipeline()
        for command in commands:  # a name in str: redis-py routes by it
            pipe.execute_command(command[0].decode(), *command[1:])
        # Without redis-py's own raising, which adds the command, and with it a part of the key and the user's field.
        replies = await pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return list(replies)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def pack(command: Command) -> bytes:
    """A command as it goes over the wire (RESP)."""
    parts = [b"$%d\r\n%b\r\n" % (len(part), part) for part in command]
    return b"*%d\r\n%b" % (len(command), b"".join(parts))
