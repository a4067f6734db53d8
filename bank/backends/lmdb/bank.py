"""The embedded bank: one LMDB directory, no server. Keys and values are described in `bank.backends.lmdb.reader`.

Every step that readers can see is one write transaction. Records of a release are written in transactions of
about 100,000 users, under a staging of their own that readers do not know until the release is complete.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import lmdb

from userip.bank.backends.lmdb.environment import LmdbEnvironment, get
from userip.bank.backends.lmdb.reader import (
    HISTORY_KEY,
    RELEASE_PREFIX,
    read_history,
    read_many,
    read_meta,
    read_names,
    record_prefix,
    write_meta,
)
from userip.bank.backends.lmdb.staging import Stagings, count_records, items_of
from userip.bank.backends.lmdb.url import LmdbUrl
from userip.bank.batch import Batch
from userip.bank.errors import BankError, BankUnavailableError, PublishError, UnknownReleaseError
from userip.bank.layout import check_release_name
from userip.bank.protocol import Lookup, Progress, ReleaseInfo, Repaired, StaleStaging, StoreUsage
from userip.bank.record import Record, encode, is_of
from userip.bank.release_meta import (
    HISTORY_LENGTH,
    IS_ACTIVE,
    WAS_REPLACED,
    ReleaseMeta,
    check_record,
    check_shape,
    naming,
    no_earlier,
    now,
    place_taken,
    unknown_release,
)
from userip.bank.release_records import ReleaseRecords

if TYPE_CHECKING:
    from userip.bank.backends.lmdb.environment import Transaction

_USERS_PER_BUCKET: Final = 80  # as in Redis; here it only shapes the keys


class LmdbBank:
    """A `Bank` in an LMDB directory; `lease_s` is how long a silent publisher counts as alive."""

    def __init__(self, url: LmdbUrl, *, create: bool = True, lease_s: float = 15.0) -> None:
        self._env = LmdbEnvironment.acquire(url.path, url.map_mb)
        self._stagings = Stagings(self._env, lease_s)
        self._create = create
        self._closed = False

    def __repr__(self) -> str:
        return f"LmdbBank({self._env.where})"

    def _exists(self) -> bool:
        """Whether there is something to read; a bank that is yet to be created holds nothing."""
        if self._env.exists():
            return True
        if not self._create:
            raise BankUnavailableError(f"{self._env.where}: no bank found; create it with `userip publish`")
        return False

    def _require(self, release: str) -> None:
        """Raise UnknownReleaseError for a release that is not there, without making a bank to look for it."""
        if not self._exists():
            raise UnknownReleaseError(unknown_release(self._env.where, release, []))
        self._env.read(lambda txn: read_meta(txn, release, self._env.where))

    def active(self) -> str | None:
        """The name of the active release."""
        history = self._env.read(read_history) if self._exists() else []
        return history[0] if history else None

    def releases(self) -> list[ReleaseInfo]:
        """All complete releases, oldest first."""
        return self._env.read(self._releases) if self._exists() else []

    def _releases(self, txn: "Transaction") -> list[ReleaseInfo]:
        history = read_history(txn)
        pages = txn.stat()
        used = pages["psize"] * (pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"])
        metas = {name: read_meta(txn, name, self._env.where) for name in read_names(txn, RELEASE_PREFIX)}
        found = [
            # Entries of all releases share the pages.
            ReleaseInfo.of(name, meta, round(used * meta.users / pages["entries"]), history)
            for name, meta in metas.items()
        ]
        return sorted(found, key=lambda info: (info.created, info.name))

    def stale_stagings(self) -> list[StaleStaging]:
        """Records that belong to no complete release."""
        return self._stagings.stale_stagings() if self._exists() else []

    def publish(self, release: str, records: ReleaseRecords, progress: Progress | None = None) -> None:
        """Write a release beside the others and verify it; it is complete afterwards, but not active."""
        check_release_name(release)
        batch = Batch.of(records, _USERS_PER_BUCKET)
        if self.active() == release:
            raise PublishError(f"{self._env.where}: release {release!r} {IS_ACTIVE}")
        staging = self._stagings.begin(release)
        try:
            self._stagings.write(staging, batch, progress)
            self._stagings.verify(staging, batch)
            meta = ReleaseMeta.of_batch(staging, batch)
            self._env.write(lambda txn: self._complete(txn, release, meta))
        except BaseException:
            # What cannot be removed now (the disk is full, say) `prune` removes later.
            with contextlib.suppress(BankError):
                self._stagings.delete(staging)
            raise
        self._stagings.delete_dead(release)

    def _complete(self, txn: "Transaction", release: str, meta: ReleaseMeta) -> None:
        self._stagings.finish(txn, meta.staging)
        if read_history(txn)[:1] == [release]:
            raise PublishError(f"{self._env.where}: release {release!r} {IS_ACTIVE}")
        if (old := get(txn, RELEASE_PREFIX + release.encode())) is not None:
            self._stagings.retire(txn, release, ReleaseMeta.model_validate_json(old).staging)
        write_meta(txn, release, meta)

    def warnings(self) -> list[str]:
        """None: a directory drops nothing by itself."""
        return []

    def count_missing(self, release: str) -> int:
        """How many records of a complete release are not there any more."""

        def look(txn: "Transaction") -> int:
            meta = read_meta(txn, release, self._env.where)
            return max(0, meta.users - count_records(txn, meta.staging))

        self._require(release)
        return self._env.read(look)

    def repair(self, release: str, records: ReleaseRecords) -> Repaired:
        """Write those records of a complete release that are lost, in place."""
        self._require(release)
        first = self._env.read(lambda txn: read_meta(txn, release, self._env.where))
        batch = Batch.in_layout(first.layout, records)
        check_shape(self._env.where, release, records, first)

        def held(txn: "Transaction") -> ReleaseMeta:
            meta = read_meta(txn, release, self._env.where)
            if meta.staging != first.staging:
                raise PublishError(f"{self._env.where}: release {release!r} {WAS_REPLACED}")
            return meta

        def fill(txn: "Transaction", items: list[tuple[bytes, bytes]]) -> int:
            held(txn)
            _, added = txn.cursor().putmulti(items, overwrite=False)
            return int(added)

        def settle(txn: "Transaction") -> int:
            meta = held(txn)
            found = count_records(txn, meta.staging)
            if found < meta.users:
                write_meta(txn, release, meta.model_copy(update={"users": found, "updated": now()}))
            return max(0, meta.users - found)

        written = sum(self._env.write(partial(fill, items=items)) for items in items_of(first.staging, batch))
        return Repaired(written, self._env.write(settle))

    def activate(self, release: str) -> None:
        """Make a complete release the active one."""

        def step(txn: "Transaction") -> None:
            read_meta(txn, release, self._env.where)
            history = read_history(txn)
            if history[:1] != [release]:
                history = [release, *(name for name in history if name != release)]
                txn.put(HISTORY_KEY, json.dumps(history[:HISTORY_LENGTH]).encode())

        self._require(release)
        self._env.write(step)

    def rollback(self) -> str:
        """Activate the release that was active before; return its name."""

        def step(txn: "Transaction") -> str:
            history = read_history(txn)
            if len(history) < 2:
                raise UnknownReleaseError(no_earlier(self._env.where, history))
            txn.put(HISTORY_KEY, json.dumps(history[1:]).encode())
            return history[1]

        if not self._exists():
            raise UnknownReleaseError(no_earlier(self._env.where, []))
        return self._env.write(step)

    def prune(self, keep: int = 1, *, dry_run: bool = False) -> list[str]:
        """Delete stale stagings and all releases but the active one and the `keep` before it; return the names."""
        if not self._exists():
            return []

        def doomed(txn: "Transaction") -> list[str]:
            kept = read_history(txn)[: 1 + max(keep, 0)]
            return [name for name in read_names(txn, RELEASE_PREFIX) if kept and name not in kept]

        def retire(txn: "Transaction") -> list[str]:
            names = doomed(txn)
            for name in names:
                self._stagings.retire(txn, name, read_meta(txn, name, self._env.where).staging)
                txn.delete(RELEASE_PREFIX + name.encode())
            history = [name for name in read_history(txn) if name not in names]
            txn.put(HISTORY_KEY, json.dumps(history).encode())
            return names

        dead = [str(left) for left in self.stale_stagings() if not left.alive]
        if dry_run:
            return self._env.read(doomed) + dead
        names = self._env.write(retire)
        self._stagings.delete_dead()
        return names + dead

    def upsert(self, release: str, records: Mapping[str, Record]) -> None:
        """Add or change users of a complete release: all of `records`, or none."""

        def step(txn: "Transaction") -> None:
            meta = read_meta(txn, release, self._env.where)
            prefix, fresh = record_prefix(meta.staging), 0
            for user_id, record in records.items():
                check_record(user_id, record, meta)
                bucket, field, tag = meta.layout.locate(user_id)
                key, value = prefix + bucket.to_bytes(3, "big") + field, encode(record, tag)
                old = get(txn, key)
                if old is not None and not is_of(old, tag):
                    raise PublishError(place_taken(self._env.where, release, user_id))
                fresh += old is None
                txn.put(key, value)
            counts = {"users": meta.users + fresh, "folded_in": meta.folded_in + fresh, "updated": now()}
            write_meta(txn, release, meta.model_copy(update=counts))

        self._require(release)
        self._env.write(step)

    def forget(self, user_id: str) -> list[str]:
        """Delete the records of a user from all releases; the names of those that held one."""

        def step(txn: "Transaction") -> list[str]:
            found = []
            for name in read_names(txn, RELEASE_PREFIX):
                meta = read_meta(txn, name, self._env.where)
                with naming(name):
                    bucket, field, tag = meta.layout.locate(user_id)
                key = record_prefix(meta.staging) + bucket.to_bytes(3, "big") + field
                held = is_of(get(txn, key), tag) and txn.delete(key)
                write_meta(txn, name, meta.without(held))
                if held:
                    found.append(name)
            return found

        if not self._exists():
            return []
        self._stagings.delete_dead()
        return self._env.write(step)

    def get_many(self, release: str, user_ids: Sequence[str]) -> list[Lookup]:
        """The records of `user_ids`, in order."""
        where = self._env.where
        self._require(release)
        return self._env.read(lambda txn: read_many(txn, read_meta(txn, release, where), user_ids))

    def usage(self) -> StoreUsage:
        """The blocks of the file; what LMDB does, the process that asks does."""
        return StoreUsage(".".join(map(str, lmdb.version())), self._env.blocks_bytes(), 0.0)

    def close(self) -> None:
        """Let go of the files."""
        if not self._closed:
            self._closed = True
            self._env.release()
