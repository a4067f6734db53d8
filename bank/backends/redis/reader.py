"""The service's reader of a Redis bank: one round trip per request, bounded by a deadline, never retried."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from userip.bank.backends.redis.client import meta_of, named_errors
from userip.bank.backends.redis.connection import ClusterConnection, Command, ServerConnection
from userip.bank.backends.redis.url import RedisUrl
from userip.bank.deadline import Deadlines
from userip.bank.errors import BankUnavailableError, UnknownReleaseError
from userip.bank.layout import HISTORY_KEY, bucket_prefix, release_key
from userip.bank.protocol import Lookup, StoredRecord
from userip.bank.record import look_up
from userip.bank.release_meta import ReleaseMeta

_FRESH_S: Final = 1.0  # TTL of a release's metadata
_MAX_KNOWN: Final = 64


@dataclass(slots=True)
class _Known:
    meta: ReleaseMeta
    asked: float  # loop time of the last question


class RedisReader:
    """An `AsyncReader` in Redis; every call ends within `deadline_s`.

    A release's metadata is asked for once a second, along with the records of some request: a release that
    was pruned, or published again under its name, shows within that time.
    """

    remote: Final = True

    def __init__(self, url: RedisUrl, *, deadline_s: float = 0.05, max_connections: int = 32) -> None:
        self._url = url
        self._deadline_s = deadline_s
        self._deadlines = Deadlines(deadline_s)
        self._max_connections = max_connections
        self._connection: ServerConnection | ClusterConnection | None = None
        self._known: dict[str, _Known] = {}

    def __repr__(self) -> str:
        return f"RedisReader({self._url.where})"

    async def active(self) -> str | None:
        """The name of the active release."""
        with self._bounded():
            (name,) = await self._send([(b"LINDEX", HISTORY_KEY.encode(), b"0")])
        return None if name is None else str(name.decode())

    def updated(self, release: str) -> float | None:
        """When the release's records last changed, unix seconds, as far as is known without asking."""
        known = self._known.get(release)
        return None if known is None else known.meta.updated_at

    async def meta(self, release: str) -> ReleaseMeta | None:
        """The release's metadata as it is now; None if the bank does not hold it."""
        with self._bounded():
            known = await self._learn(release)
        return None if known is None else known.meta

    async def read_buckets(self, release: str, meta: ReleaseMeta, buckets: Iterable[int]) -> list[StoredRecord]:
        """Everything that `buckets` hold, in their order and within each by field: for a replica of the release."""
        numbers, prefix = list(buckets), bucket_prefix(release, meta.staging)
        with self._bounded():
            replies = await self._send([(b"HGETALL", prefix + b"%x" % number) for number in numbers])
        return [
            (number, field, value)
            for number, reply in zip(numbers, replies, strict=True)
            for field, value in sorted(_pairs(reply).items())
        ]

    @property
    def in_use(self) -> int:
        """Connections that some request holds at this moment; 0 in a cluster, which does not tell."""
        return 0 if self._connection is None else self._connection.in_use

    def exists(self) -> bool:
        """True: an empty server is an empty bank."""
        return True

    async def get_many(self, release: str, user_ids: Sequence[str]) -> list[Lookup]:
        """The records of `user_ids`, in order, in one round trip (two for a release that is new here)."""
        with self._bounded():
            return await self._get_many(release, user_ids)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        with named_errors(self._url):
            try:
                with self._deadlines.watch():
                    yield
            except TimeoutError:
                raise BankUnavailableError(
                    f"{self._url.where}: no answer within {self._deadline_s * 1000:g} ms"
                ) from None

    async def _get_many(self, release: str, user_ids: Sequence[str]) -> list[Lookup]:
        time = asyncio.get_running_loop().time()
        known = self._known.get(release) or await self._learn(release)
        if known is None:
            raise UnknownReleaseError(f"{self._url.where}: no complete release {release!r}")
        meta, layout = known.meta, known.meta.layout
        places = [layout.locate(user_id) for user_id in user_ids]
        prefix = bucket_prefix(release, meta.staging)
        commands: list[Command] = [(b"HGET", prefix + b"%x" % bucket, field) for bucket, field, _ in places]
        if stale := time - known.asked > _FRESH_S:
            known.asked = time  # of the requests at this moment one asks
            commands.append(_meta_command(release))
        values = await self._send(commands)
        if stale:
            newer = self._remember(release, values.pop())
            if newer is None or newer.meta.staging != meta.staging:
                return await self._get_many(release, user_ids)
        return [look_up(value, place[2], meta.slots, meta.vector) for value, place in zip(values, places, strict=True)]

    async def _learn(self, release: str) -> _Known | None:
        (raw,) = await self._send([_meta_command(release)])
        return self._remember(release, raw)

    def _remember(self, release: str, raw: Any) -> _Known | None:  # noqa: ANN401  (a reply of redis-py)
        if not raw:
            self._known.pop(release, None)
            return None
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()  # names come from operators; this only bounds a mistake
        known = _Known(meta_of(_pairs(raw)), asyncio.get_running_loop().time())
        self._known[release] = known
        return known

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        if self._connection is None:
            kind = ClusterConnection if self._url.cluster else ServerConnection
            self._connection = kind(self._url, self._deadline_s, self._max_connections)
        return await self._connection.send(commands)


def _meta_command(release: str) -> Command:
    return (b"HGETALL", release_key(release).encode("utf-8", "surrogatepass"))


def _pairs(reply: Any) -> dict[bytes, bytes]:  # noqa: ANN401  (a reply of redis-py, a cluster's as a dict)
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
