"""A replica: a copy of one release in a local LMDB directory, read when the bank fails.

It is an ordinary LMDB bank, whose active release is the copied one. Records are copied from place to place under the
source's own layout (salt, buckets), so that no user id is needed. A release that is new here is written as a staging,
which readers do not know until it is whole; of one that is here, only records that changed are written, and those that
the source has no more (`userip forget`) are deleted. Records change one by one in the source as well (fold-in), so
readers may see them change one by one here.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from userip.bank.backends.lmdb.environment import LmdbEnvironment, get, key_of
from userip.bank.backends.lmdb.reader import (
    HISTORY_KEY,
    RELEASE_PREFIX,
    LmdbReader,
    find_meta,
    read_meta,
    read_names,
    record_prefix,
    write_meta,
)
from userip.bank.backends.lmdb.staging import Stagings
from userip.bank.backends.lmdb.url import LmdbUrl
from userip.bank.errors import PublishError
from userip.bank.protocol import StoredRecord
from userip.bank.release_meta import ReleaseMeta

if TYPE_CHECKING:
    from userip.bank.backends.lmdb.environment import Transaction


class Replica:
    """The directory, for its only writer. Methods block; call them from a thread. `reader` reads it, anywhere."""

    def __init__(self, directory: Path) -> None:
        self._env = LmdbEnvironment.acquire(directory)
        self.reader = LmdbReader(LmdbUrl(path=directory))
        # There is one writer at a time, so the staging of another is dead and need not be waited for long.
        self._stagings = Stagings(self._env, lease_s=1)

    def held(self, release: str) -> ReleaseMeta | None:
        """The metadata of the copy of `release`; None if there is none."""
        return find_meta(self._env, release) if self._env.exists() else None

    def begin(self, release: str, meta: ReleaseMeta) -> "ReplicaCopy":
        """Start to copy the release that the source describes by `meta`, or to bring its copy up to date."""
        held = self.held(release)
        if held is not None and _same_publication(held, meta):
            return ReplicaCopy(self._env, None, held.staging, release, meta)
        return ReplicaCopy(self._env, self._stagings, self._stagings.begin(release), release, meta)

    def close(self) -> None:
        """Let go of the files."""
        self._env.release()


class ReplicaCopy:
    """One copy on its way; `stagings` is None when only changes are written."""

    def __init__(
        self, env: LmdbEnvironment, stagings: Stagings | None, staging: str, release: str, meta: ReleaseMeta
    ) -> None:
        self._env, self._stagings, self._staging = env, stagings, staging
        self._release, self._meta = release, meta
        self._users = 0
        self._last = record_prefix(staging)  # up to which key the copy agrees with the source

    def write(self, records: Sequence[StoredRecord]) -> int:
        """Take records, places rising from call to call; how many of them were not here yet, or are not any more."""
        prefix = record_prefix(self._staging)
        items = [(prefix + bucket.to_bytes(3, "big") + field, value) for bucket, field, value in records]
        self._users += len(items)
        if self._stagings is not None:
            if items:
                self._stagings.put(self._staging, items)
            return len(items)
        if not items:
            return 0
        changed = self._env.read(lambda txn: [item for item in items if get(txn, item[0]) != item[1]])
        gone = self._env.read(lambda txn: self._gone(txn, {key for key, _ in items}, items[-1][0]))

        def step(txn: "Transaction") -> None:
            txn.cursor().putmulti(changed)
            for key in gone:
                txn.delete(key)

        if changed or gone:
            self._env.write(step)
        self._last = items[-1][0]
        return len(changed) + len(gone)

    def _gone(self, txn: "Transaction", kept: set[bytes], end: bytes) -> list[bytes]:
        """Keys here, after those that agree and up to `end`, that are not `kept`."""
        cursor, found = txn.cursor(), []
        there = cursor.set_range(self._last)
        while there and (key := key_of(cursor)) <= end:
            if key > self._last and key not in kept:
                found.append(key)
            there = cursor.next()
        return found

    def complete(self, meta: ReleaseMeta | None) -> None:
        """The copy becomes the replica, and replicas of other releases go. `meta`: what the source says by now.

        Raises PublishError when the source was replaced meanwhile, or gave fewer records than it says to hold.
        """
        if meta is None or meta.staging != self._meta.staging:
            raise PublishError(f"{self._env.where}: release {self._release!r} was replaced while it was copied")
        if self._users < self._meta.users:
            raise PublishError(
                f"{self._env.where}: {self._users} records of {self._release!r} were found, "
                f"the bank says that it holds {self._meta.users}"
            )
        # Not what the source says by now: who changed meanwhile may have been copied before.
        self._env.write(self._complete)
        if self._stagings is not None:
            self._stagings.delete_dead()

    def _complete(self, txn: "Transaction") -> None:
        if self._stagings is not None:
            self._stagings.finish(txn, self._staging)
            for name in read_names(txn, RELEASE_PREFIX):
                self._stagings.retire(txn, name, read_meta(txn, name, self._env.where).staging)
                txn.delete(RELEASE_PREFIX + name.encode())
        else:
            for key in self._gone(txn, set(), record_prefix(self._staging) + b"\xff" * 9):
                txn.delete(key)
        write_meta(txn, self._release, self._meta.model_copy(update={"staging": self._staging}))
        txn.put(HISTORY_KEY, json.dumps([self._release]).encode())


def is_copy(held: ReleaseMeta | None, source: ReleaseMeta) -> bool:
    """Whether the copy described by `held` has everything that the source describes."""
    return held is not None and _same_publication(held, source) and held.updated == source.updated


def _same_publication(held: ReleaseMeta, source: ReleaseMeta) -> bool:
    own = {name: getattr(held, name) for name in ("staging", "users", "updated", "folded_in", "forgotten")}
    return source.model_copy(update=own) == held
