"""Reading an LMDB bank: the functions that bank and service share, and the service's reader.

m:layout            key layout version
m:history           JSON list of release names; the first is the active one
m:release:NAME      JSON of ReleaseMeta
m:attempt:STAGING   JSON of a staging that is being written, or of records to be deleted
m:next              the next staging, 8 hexadecimal digits
r STAGING PLACE     record; staging 4 bytes, place = bucket and field, 8 bytes, both big-endian
"""

import functools
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from userip.bank.backends.lmdb.environment import LmdbEnvironment, get, key_of
from userip.bank.backends.lmdb.url import LmdbUrl
from userip.bank.errors import BankUnavailableError, UnknownReleaseError
from userip.bank.protocol import Lookup, StoredRecord
from userip.bank.record import look_up
from userip.bank.release_meta import ReleaseMeta, unknown_release

if TYPE_CHECKING:
    from userip.bank.backends.lmdb.environment import Transaction

HISTORY_KEY: Final = b"m:history"
RELEASE_PREFIX: Final = b"m:release:"


def record_prefix(staging: str) -> bytes:
    """What the keys of a staging's records begin with."""
    return b"r" + bytes.fromhex(staging)


def read_history(txn: "Transaction") -> list[str]:
    """Names of the releases that were activated, the active one first."""
    raw = get(txn, HISTORY_KEY)
    return [] if raw is None else [str(name) for name in json.loads(raw)]


def read_names(txn: "Transaction", prefix: bytes) -> list[str]:
    """What follows `prefix` in the keys that begin with it."""
    cursor = txn.cursor()
    names = []
    found = cursor.set_range(prefix)
    while found and key_of(cursor).startswith(prefix):
        names.append(key_of(cursor)[len(prefix) :].decode())
        found = cursor.next()
    return names


def read_meta(txn: "Transaction", release: str, where: str) -> ReleaseMeta:
    """The metadata of a complete release. Raises UnknownReleaseError."""
    raw = get(txn, RELEASE_PREFIX + release.encode("utf-8", "replace"))
    if raw is None:
        raise UnknownReleaseError(unknown_release(where, release, read_names(txn, RELEASE_PREFIX)))
    return _parse_meta(raw)


def find_meta(env: LmdbEnvironment, release: str) -> ReleaseMeta | None:
    """The same in a transaction of its own; None if there is no such release. Raises BankUnavailableError."""
    try:
        return env.read(lambda txn: read_meta(txn, release, env.where))
    except UnknownReleaseError:
        return None


def write_meta(txn: "Transaction", release: str, meta: ReleaseMeta) -> None:
    """Store what `read_meta` reads."""
    txn.put(RELEASE_PREFIX + release.encode(), json.dumps(meta.stored(), separators=(",", ":")).encode())


@functools.lru_cache(maxsize=64)
def _parse_meta(raw: bytes) -> ReleaseMeta:
    # The bytes are read in every transaction, so a change shows at once; only their parsing is remembered.
    return ReleaseMeta.model_validate_json(raw)


def read_many(txn: "Transaction", meta: ReleaseMeta, user_ids: Sequence[str]) -> list[Lookup]:
    """The records of `user_ids`, in order."""
    prefix, layout = record_prefix(meta.staging), meta.layout
    found: list[Lookup] = []
    for user_id in user_ids:
        bucket, field, tag = layout.locate(user_id)
        value = get(txn, prefix + bucket.to_bytes(3, "big") + field)
        found.append(look_up(value, tag, meta.slots, meta.vector))
    return found


def _read_bucket(txn: "Transaction", meta: ReleaseMeta, bucket: int) -> list[StoredRecord]:
    prefix = record_prefix(meta.staging) + bucket.to_bytes(3, "big")
    cursor, found = txn.cursor(), []
    there = cursor.set_range(prefix)
    while there and (key := key_of(cursor)).startswith(prefix):
        found.append((bucket, key[len(prefix) :], bytes(cursor.value())))
        there = cursor.next()
    return found


class LmdbReader:
    """The service's reader of an LMDB bank: direct calls of some ten microseconds, so nothing is awaited."""

    remote: Final = False
    in_use: Final = 0

    def __init__(self, url: LmdbUrl) -> None:
        self._env = LmdbEnvironment.acquire(url.path, url.map_mb)
        self._closed = False

    def __repr__(self) -> str:
        return f"LmdbReader({self._env.where})"

    def exists(self) -> bool:
        """Whether there is a bank in the directory."""
        return self._env.exists()

    async def active(self) -> str | None:
        """The name of the active release."""
        history = self._env.read(read_history)
        return history[0] if history else None

    async def meta(self, release: str) -> ReleaseMeta | None:
        """What the bank knows of a complete release, None if it does not hold it."""
        return find_meta(self._env, release)

    async def get_many(self, release: str, user_ids: Sequence[str]) -> list[Lookup]:
        """The records of `user_ids`, in order."""
        where = self._env.where
        return self._env.read(lambda txn: read_many(txn, read_meta(txn, release, where), user_ids))

    def updated(self, release: str) -> float | None:
        """When the release's records last changed, unix seconds."""
        with suppress(BankUnavailableError):
            if (meta := find_meta(self._env, release)) is not None:
                return meta.updated_at
        return None

    async def read_buckets(self, release: str, meta: ReleaseMeta, buckets: Iterable[int]) -> list[StoredRecord]:
        """Everything that `buckets` hold."""
        return self._env.read(lambda txn: [found for bucket in buckets for found in _read_bucket(txn, meta, bucket)])

    async def close(self) -> None:
        """Let go of the files."""
        if not self._closed:
            self._closed = True
            self._env.release()
