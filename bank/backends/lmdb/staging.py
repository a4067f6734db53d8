"""Staging in an LMDB bank: records of unfinished publications, which readers do not see.

A staging is alive while its publisher commits within the lease. A dead one is what a killed publisher left,
or the records of a release that was replaced or pruned; it is deleted piece by piece.
"""

import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from userip.bank.backends.lmdb.environment import LAYOUT_KEY, LmdbEnvironment, get, key_of
from userip.bank.backends.lmdb.reader import read_names, record_prefix
from userip.bank.batch import Batch
from userip.bank.errors import PublishError
from userip.bank.layout import LAYOUT_VERSION
from userip.bank.protocol import Progress, StaleStaging
from userip.bank.release_meta import LEASE_EXPIRED, now, published_elsewhere

if TYPE_CHECKING:
    from userip.bank.backends.lmdb.environment import Transaction

_PREFIX: Final = b"m:attempt:"
_NEXT_KEY: Final = b"m:next"
_CHUNK: Final = 1 << 17  # users per transaction: other writers wait for a chunk, not for a release
_CHUNK_BYTES: Final = 16 << 20  # of records, where they are long


class _Staging(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    release: str
    started: str
    beat: float  # unix seconds of the publisher's last sign of life; 0 = retired


class Stagings:
    """The stagings in one environment; `lease_s` is how long a silent publisher counts as alive."""

    def __init__(self, env: LmdbEnvironment, lease_s: float) -> None:
        self._env = env
        self._lease_s = lease_s

    def begin(self, release: str) -> str:
        """Start a staging of `release`, after deleting what killed ones left; return its name.

        Raises PublishError if another publisher is at work on the release.
        """
        seen: float | None = None

        def step(txn: "Transaction") -> str | float:
            for found in _all(txn).values():
                if found.release == release and self._is_alive(found):
                    return found.beat
            # Numbered upwards: new records come behind all others, where LMDB fills its pages to the brim.
            staging = (get(txn, _NEXT_KEY) or b"00000001").decode()
            txn.put(_NEXT_KEY, b"%08x" % (int(staging, 16) + 1))
            txn.put(LAYOUT_KEY, b"%d" % LAYOUT_VERSION)
            _put(txn, staging, _Staging(release=release, started=now(), beat=time.time()))
            return staging

        while not isinstance(staging := self._env.write(step), str):
            # Killed or at work? A publisher at work gives another sign of life before the lease ends.
            if seen is not None and staging != seen:
                raise PublishError(published_elsewhere(self._env.where, release))
            seen = staging
            time.sleep(min(0.2, self._lease_s / 10))
        self.delete_dead(release)
        return staging

    def write(self, staging: str, batch: Batch, progress: Progress | None) -> None:
        """Write all records of `batch`. Raises PublishError if another publisher took over."""
        written = 0
        for items in items_of(staging, batch):
            self.put(staging, items)
            written += len(items)
            if progress is not None:
                progress(written, len(batch))

    def put(self, staging: str, items: list[tuple[bytes, bytes]]) -> None:
        """Write some records, keys rising, in one step. Raises PublishError if another publisher took over."""

        def step(txn: "Transaction") -> None:
            self._beat(txn, staging)
            cursor = txn.cursor()
            append = not cursor.last() or key_of(cursor) < items[0][0]
            cursor.putmulti(items, append=append)

        self._env.write(step)

    def verify(self, staging: str, batch: Batch) -> None:
        """Count the records and read some back. Raises PublishError if the store holds anything else."""
        prefix = last = record_prefix(staging)
        found = 0
        while True:
            last, counted = self._env.read(partial(_count, prefix=prefix, after=last))
            found += counted
            if counted < _CHUNK:
                break
            self._env.write(lambda txn: self._beat(txn, staging))

        def read_back(sample: NDArray[np.int64]) -> list[bytes | None]:
            keys: list[bytes] = _keys(staging, batch.places[sample]).tolist()
            return self._env.read(lambda txn: [get(txn, key) for key in keys])

        batch.check_stored(self._env.where, found, read_back)

    def finish(self, txn: "Transaction", staging: str) -> None:
        """Inside `txn`: the staging becomes a release. Raises PublishError if another publisher took over."""
        self._beat(txn, staging)
        txn.delete(_PREFIX + staging.encode())

    def retire(self, txn: "Transaction", release: str, staging: str) -> None:
        """Inside `txn`: the records of a release that is replaced or pruned are to be deleted."""
        _put(txn, staging, _Staging(release=release, started=now(), beat=0))

    def stale_stagings(self) -> list[StaleStaging]:
        """Every staging, with the sign whether its publisher is at work."""
        return [
            StaleStaging(found.release, name, found.started, self._is_alive(found))
            for name, found in self._env.read(_all).items()
        ]

    def delete_dead(self, release: str | None = None) -> None:
        """Delete the records of all stagings (of `release`) without a living publisher."""

        def condemn(txn: "Transaction") -> list[str]:
            # Retired first, in one transaction: a publisher that wakes up now finds its lease expired.
            dead = {
                name: found
                for name, found in _all(txn).items()
                if release in (None, found.release) and not self._is_alive(found)
            }
            for name, found in dead.items():
                self.retire(txn, found.release, name)
            return list(dead)

        for staging in self._env.write(condemn):
            self.delete(staging)

    def delete(self, staging: str) -> None:
        """Delete a retired staging, or one's own, and its records."""
        prefix = record_prefix(staging)

        def step(txn: "Transaction") -> bool:
            cursor = txn.cursor()
            found = cursor.set_range(prefix)
            for _ in range(_CHUNK):
                if not found or not key_of(cursor).startswith(prefix):
                    txn.delete(_PREFIX + staging.encode())
                    return False
                found = cursor.delete()
            return True

        while self._env.write(step):
            pass

    def _is_alive(self, staging: _Staging) -> bool:
        return staging.beat > time.time() - self._lease_s

    def _beat(self, txn: "Transaction", staging: str) -> None:
        raw = get(txn, _PREFIX + staging.encode())
        found = None if raw is None else _Staging.model_validate_json(raw)
        if found is None or not found.beat:
            raise PublishError(f"{self._env.where}: {LEASE_EXPIRED}")
        _put(txn, staging, found.model_copy(update={"beat": time.time()}))


def items_of(staging: str, batch: Batch) -> Iterator[list[tuple[bytes, bytes]]]:
    """Keys and records of `batch`, rising, as many at a time as one transaction takes."""
    for piece in batch.slices(_CHUNK, _CHUNK_BYTES):
        keys = _keys(staging, batch.places[piece])
        yield list(zip(keys.tolist(), batch.records(piece).tolist(), strict=True))


def count_records(txn: "Transaction", staging: str) -> int:
    """How many records a staging, or the release that it became, has."""
    prefix = record_prefix(staging)
    return _count(txn, prefix, prefix, most=sys.maxsize)[1]


def _put(txn: "Transaction", name: str, staging: _Staging) -> None:
    txn.put(_PREFIX + name.encode(), staging.model_dump_json().encode())


def _all(txn: "Transaction") -> dict[str, _Staging]:
    names = read_names(txn, _PREFIX)
    return {name: _Staging.model_validate_json(get(txn, _PREFIX + name.encode()) or b"") for name in names}


def _keys(staging: str, places: NDArray[np.uint64]) -> NDArray[Any]:
    """The keys of records: prefix and place, 13 bytes [n]."""
    prefix = np.frombuffer(record_prefix(staging), dtype=np.uint8)
    keys = np.empty((len(places), len(prefix) + 8), dtype=np.uint8)
    keys[:, : len(prefix)] = prefix
    keys[:, len(prefix) :] = places.astype(">u8").view(np.uint8).reshape(-1, 8)
    return keys.view(f"V{keys.shape[1]}").ravel()


def _count(txn: "Transaction", prefix: bytes, after: bytes, most: int = _CHUNK) -> tuple[bytes, int]:
    """(the last key, how many) of at most `most` keys that begin with `prefix` and come after `after`."""
    cursor = txn.cursor()
    found = cursor.set_range(after)
    if found and key_of(cursor) == after:
        found = cursor.next()
    last, count = after, 0
    while found and count < most and key_of(cursor).startswith(prefix):
        last, count = key_of(cursor), count + 1
        found = cursor.next()
    return last, count
