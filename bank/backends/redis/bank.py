"""The bank in a Redis server or cluster.

userip:1:{bank}:history          list of release names; the first is the active one
userip:1:{bank}:releases         set of the names of complete releases
userip:1:{bank}:release:NAME     hash of ReleaseMeta
userip:1:{bank}:attempts         hash: staging -> "release buckets started"; records of no release
userip:1:{bank}:lock:NAME        the staging that is being written, expires
userip:1:NAME:STAGING:BUCKET     hash: field of 5 bytes -> record
"""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
import redis

from userip.bank.backends.redis.client import SyncClient, meta_of, named_errors, sync_client, text
from userip.bank.backends.redis.eviction import eviction_warnings
from userip.bank.backends.redis.forget import forget
from userip.bank.backends.redis.publish import RedisPublication, delete_staging, pieces, record_counts, users_per_bucket
from userip.bank.backends.redis.repair import repair
from userip.bank.backends.redis.scripts import ACTIVATE, DEAD, RETIRE, ROLLBACK, UPSERT
from userip.bank.backends.redis.url import RedisUrl
from userip.bank.backends.redis.write import run
from userip.bank.batch import Batch
from userip.bank.errors import BankError, PublishError, UnknownReleaseError
from userip.bank.layout import (
    HISTORY_KEY,
    RELEASES_KEY,
    STAGINGS_KEY,
    bucket_prefix,
    check_release_name,
    lock_key,
    release_key,
)
from userip.bank.protocol import Lookup, Progress, ReleaseInfo, Repaired, StaleStaging, StoreUsage
from userip.bank.record import Record, encode, look_up
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

_SAMPLED_BUCKETS: Final = 64
_UPSERT_USERS: Final = 1000  # per script: a server answers nobody else meanwhile
T = TypeVar("T")
_log = logging.getLogger(__name__)


class RedisBank:
    """A `Bank` in Redis; `lease_s` is how long a silent publisher counts as alive."""

    def __init__(self, url: RedisUrl, *, timeout_s: float = 10.0, lease_s: float = 15.0) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._lease_s = lease_s
        self._opened: SyncClient | None = None

    def __repr__(self) -> str:
        return f"RedisBank({self._url.where})"

    def _run(self, work: Callable[[SyncClient], T]) -> T:
        """Run `work` with the client, its errors named."""
        with named_errors(self._url):
            if self._opened is None:
                self._opened = sync_client(self._url, self._timeout_s)
            return work(self._opened)

    def active(self) -> str | None:
        """The name of the active release."""
        return next(iter(self._history(0)), None)

    def _history(self, last: int = -1) -> list[str]:
        return [text(name) for name in self._run(lambda client: client.lrange(HISTORY_KEY, 0, last))]

    def _names(self) -> list[str]:
        return sorted(text(name) for name in self._run(lambda client: client.smembers(RELEASES_KEY)))

    def _meta(self, release: str) -> ReleaseMeta:
        raw = self._run(lambda client: client.hgetall(release_key(release)))
        if not raw:
            raise UnknownReleaseError(unknown_release(self._url.where, release, self._names()))
        return meta_of(raw)

    def releases(self) -> list[ReleaseInfo]:
        """All complete releases, oldest first."""
        history, found = self._history(), []
        for name in self._names():
            with contextlib.suppress(UnknownReleaseError):  # pruned since the names were read
                meta = self._meta(name)
                found.append(ReleaseInfo.of(name, meta, self._bytes(name, meta), history))
        return sorted(found, key=lambda info: (info.created, info.name))

    def _bytes(self, release: str, meta: ReleaseMeta) -> int | None:
        """Memory of the release by the server's own figure for some of its buckets."""
        numbers = np.linspace(0, meta.buckets - 1, min(meta.buckets, _SAMPLED_BUCKETS)).astype(int).tolist()
        prefix = bucket_prefix(release, meta.staging)

        def ask(client: SyncClient) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for number in numbers:
                pipe.memory_usage(prefix + b"%x" % number, samples=0)
            return run(pipe)

        try:
            sizes = self._run(ask)
        except BankError:  # an ACL may refuse MEMORY USAGE; the figure is not worth failing for
            return None
        return round(sum(size or 0 for size in sizes) * meta.buckets / len(sizes))

    def stale_stagings(self) -> list[StaleStaging]:
        """Records that belong to no complete release."""
        found = []
        for staging, release, _, started in self._stagings():
            holder, still = self._run(partial(_look_at_staging, release=release, staging=staging))
            if still is not None:
                found.append(StaleStaging(release, staging, started, alive=holder == staging.encode()))
        return found

    def _stagings(self) -> list[tuple[str, str, int, str]]:
        """(staging, release, buckets, started) of every staging that is no release."""
        found = []
        for staging, value in sorted(self._run(lambda client: client.hgetall(STAGINGS_KEY)).items()):
            release, buckets, started = text(value).split(" ", 2)
            found.append((text(staging), release, int(buckets), started))
        return found

    def _is_dead(self, release: str, staging: str) -> bool:
        return bool(self._run(lambda client: client.eval(DEAD, 2, STAGINGS_KEY, lock_key(release), staging)))

    def _delete_dead(self, of_release: str | None = None) -> list[str]:
        """Delete the records of stagings (of one release) whose publisher is gone for good."""
        deleted = []
        for staging, release, buckets, started in self._stagings():
            if of_release in (None, release) and self._is_dead(release, staging):
                self._run(partial(delete_staging, release=release, staging=staging, buckets=buckets))
                deleted.append(str(StaleStaging(release, staging, started, alive=False)))
        return deleted

    def publish(self, release: str, records: ReleaseRecords, progress: Progress | None = None) -> None:
        """Write a release beside the others and verify it; it is complete afterwards, but not active."""
        check_release_name(release)
        self._warn()
        batch = Batch.of(records, self._run(lambda client: users_per_bucket(client, records.record_bytes)))
        if self.active() == release and self._run(lambda client: client.exists(release_key(release))):
            raise PublishError(f"{self._url.where}: release {release!r} {IS_ACTIVE}")
        self._run(lambda client: self._publish(client, release, batch, progress))
        self._delete_dead(release)

    def _publish(self, client: SyncClient, release: str, batch: Batch, progress: Progress | None) -> None:
        publication = RedisPublication(client, self._url.where, release, self._lease_s)
        publication.lock()
        try:
            self._delete_dead(release)
            publication.write(batch, progress)
            publication.verify(batch)
            publication.complete(ReleaseMeta.of_batch(publication.staging, batch))
        except BaseException:
            # What cannot be removed now (the server is away, say) `prune` removes later.
            with contextlib.suppress(BankError), named_errors(self._url):
                publication.abandon(batch.layout.buckets)
            raise

    def warnings(self) -> list[str]:
        """What in the server's settings may lose records, one line each with the fix."""
        return self._run(eviction_warnings)

    def _warn(self) -> None:
        for line in self.warnings():
            _log.warning("%s: %s", self._url.where, line)

    def count_missing(self, release: str) -> int:
        """How many records of a complete release are not there any more."""
        while True:
            meta = self._meta(release)  # before the counting: users are only ever added
            prefix, buckets = bucket_prefix(release, meta.staging), range(meta.buckets)
            found = self._run(lambda client: sum(record_counts(client, prefix, buckets)))  # noqa: B023  (called at once)
            if found >= meta.users:
                return 0
            if self._meta(release).staging == meta.staging:  # else it was published again, and its old records went
                return meta.users - found

    def repair(self, release: str, records: ReleaseRecords) -> Repaired:
        """Write those records of a complete release that are lost, in place."""
        meta = self._meta(release)
        batch = Batch.in_layout(meta.layout, records)
        check_shape(self._url.where, release, records, meta)
        self._warn()
        return self._run(lambda client: repair(client, self._url.where, release, meta, batch))

    def activate(self, release: str) -> None:
        """Make a complete release the active one."""
        if not self._run(
            lambda client: client.eval(ACTIVATE, 2, release_key(release), HISTORY_KEY, release, HISTORY_LENGTH)
        ):
            raise UnknownReleaseError(unknown_release(self._url.where, release, self._names()))

    def rollback(self) -> str:
        """Activate the release that was active before; return its name."""
        name = self._run(lambda client: client.eval(ROLLBACK, 1, HISTORY_KEY))
        if name is None:
            raise UnknownReleaseError(no_earlier(self._url.where, self._history()))
        return str(name.decode())

    def prune(self, keep: int = 1, *, dry_run: bool = False) -> list[str]:
        """Delete stale stagings and all releases but the active one and the `keep` before it; return the names."""
        kept = self._history(max(keep, 0))
        doomed = [name for name in self._names() if kept and name not in kept]
        if dry_run:
            return doomed + [str(left) for left in self.stale_stagings() if not left.alive]
        dead = self._delete_dead()
        keys = (RELEASES_KEY, STAGINGS_KEY, HISTORY_KEY)

        def retire(client: SyncClient, name: str) -> bool:
            return bool(client.eval(RETIRE, 4, release_key(name), *keys, name, max(keep, 0), now()))

        gone = [name for name in doomed if self._run(partial(retire, name=name))]
        self._delete_dead()
        return gone + dead

    def upsert(self, release: str, records: Mapping[str, Record]) -> None:
        """Add or change users of a complete release. On a cluster a failure midway can leave some changed."""
        meta = self._meta(release)
        prefix, layout = bucket_prefix(release, meta.staging), meta.layout
        places: dict[tuple[bytes, bytes], tuple[str, bytes]] = {}  # (bucket key, field): (user id, record)
        for user_id, record in records.items():
            check_record(user_id, record, meta)
            bucket, field, tag = layout.locate(user_id)
            place = (prefix + b"%x" % bucket, field)
            if place in places:
                raise PublishError(place_taken(self._url.where, release, user_id))
            places[place] = (user_id, encode(record, tag))
        # A large upsert is several steps; looking before the first keeps it whole.
        for (user_id, value), old in zip(places.values(), self._values(list(places)), strict=True):
            if old is not None and old[1:5] != value[1:5]:
                raise PublishError(place_taken(self._url.where, release, user_id))
        for some in self._upsert_steps(list(places)):
            users, values = zip(*(places[place] for place in some), strict=True)
            self._upsert(release, meta, some, users, values)

    def _upsert_steps(self, places: list[tuple[bytes, bytes]]) -> list[list[tuple[bytes, bytes]]]:
        """Places that one script may change: any on a server, those of one bucket on a cluster."""
        if not self._url.cluster:
            return [places[i : i + _UPSERT_USERS] for i in range(0, len(places), _UPSERT_USERS)]
        by_bucket: dict[bytes, list[tuple[bytes, bytes]]] = {}
        for place in places:
            by_bucket.setdefault(place[0], []).append(place)
        return list(by_bucket.values())

    def _upsert(
        self,
        release: str,
        meta: ReleaseMeta,
        places: list[tuple[bytes, bytes]],
        users: Sequence[str],
        values: Sequence[bytes],
    ) -> None:
        key, cluster = release_key(release), self._url.cluster
        keys = [bucket for bucket, _ in places] if cluster else [key, *(bucket for bucket, _ in places)]
        pairs = [part for (_, field), value in zip(places, values, strict=True) for part in (field, value)]
        arguments: list[bytes | str] = ["" if cluster else meta.staging, now(), *pairs]
        fresh, problem = self._run(lambda client: client.eval(UPSERT, len(keys), *keys, *arguments))
        if problem == -1:
            raise PublishError(f"{self._url.where}: release {release!r} {WAS_REPLACED}")
        if problem:
            raise PublishError(place_taken(self._url.where, release, users[problem - 1]))
        if cluster:
            self._run(lambda client: client.hincrby(key, "users", fresh))
            self._run(lambda client: client.hincrby(key, "folded_in", fresh))
            self._run(lambda client: client.hset(key, "updated", now()))

    def forget(self, user_id: str) -> list[str]:
        """Delete the records of a user from all releases; the names of those that held one."""
        self._delete_dead()
        metas = {}
        for name in self._names():
            with contextlib.suppress(UnknownReleaseError), naming(name):  # pruned since the names were read
                metas[name] = self._meta(name)
                metas[name].require_key()
        steps = {name: partial(forget, release=name, meta=meta, user_id=user_id) for name, meta in metas.items()}
        return [name for name, step in steps.items() if self._run(step)]

    def get_many(self, release: str, user_ids: Sequence[str]) -> list[Lookup]:
        """The records of `user_ids`, in order."""
        meta = self._meta(release)
        prefix = bucket_prefix(release, meta.staging)
        places = [meta.layout.locate(user_id) for user_id in user_ids]
        values = self._values([(prefix + b"%x" % bucket, field) for bucket, field, _ in places])
        return [look_up(value, place[2], meta.slots, meta.vector) for value, place in zip(values, places, strict=True)]

    def _values(self, places: list[tuple[bytes, bytes]]) -> list[bytes | None]:
        """The values at (bucket key, field), in order."""

        def ask(client: SyncClient, some: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
            pipe = client.pipeline(transaction=False)
            for key, field in some:
                pipe.hget(key, field)
            return run(pipe)

        return [value for some in pieces(places) for value in self._run(partial(ask, some=some))]

    def usage(self) -> StoreUsage:
        """`used_memory` and processor time by INFO, over all primaries of a cluster."""

        def ask(client: SyncClient) -> dict[str, Any]:
            primaries = {"target_nodes": redis.RedisCluster.PRIMARIES} if self._url.cluster else {}
            return client.info("everything", **primaries)

        answer = self._run(ask)
        nodes = [answer] if "used_memory" in answer else list(answer.values())  # several nodes answer by name
        return StoreUsage(
            version=nodes[0]["redis_version"],
            bytes=sum(node["used_memory"] for node in nodes),
            cpu_s=sum(node["used_cpu_user"] + node["used_cpu_sys"] for node in nodes),
        )

    def close(self) -> None:
        """Let go of the connections."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def _look_at_staging(client: SyncClient, release: str, staging: str) -> tuple[bytes | str | None, bytes | str | None]:
    """Who holds the release's lock, and then what is known of the staging.

    Two reads, for logins that may run no script. In this order: a lost lock is lost for good, so what is still a
    staging after that can no longer become a release.
    """
    return client.get(lock_key(release)), client.hget(STAGINGS_KEY, staging)
