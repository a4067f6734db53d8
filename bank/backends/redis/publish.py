"""Publishing into Redis: buckets are written out of readers' sight, verified, and made a release in one step.

Whoever publishes a release holds its lock, which expires `lease_s` after the last sign of life. A staging
without the lock is dead: it can never become a release, and its records may be deleted by anyone.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from redis.exceptions import ResponseError

from userip.bank.backends.redis.client import SyncClient, text
from userip.bank.backends.redis.scripts import COMPLETE, RENEW, UNLOCK
from userip.bank.backends.redis.write import run, write_buckets
from userip.bank.batch import Batch
from userip.bank.errors import PublishError
from userip.bank.layout import (
    HISTORY_KEY,
    RELEASES_KEY,
    STAGINGS_KEY,
    bucket_prefix,
    lock_key,
    release_key,
)
from userip.bank.protocol import Progress
from userip.bank.release_meta import (
    IS_ACTIVE,
    LEASE_EXPIRED,
    ReleaseMeta,
    new_staging,
    now,
    published_elsewhere,
)

_USERS_PER_FLUSH: Final = 20_000  # about 0.7 MB on the wire; the lock is renewed in between
_BYTES_PER_FLUSH: Final = 1 << 20  # of records, where they are long
_KEYS_PER_FLUSH: Final = 2_000
T = TypeVar("T")
_log = logging.getLogger(__name__)


class RedisPublication:
    """One publication of `release`."""

    def __init__(self, client: SyncClient, where: str, release: str, lease_s: float) -> None:
        self._client = client
        self._where = where
        self._release = release
        self._lease_ms = max(1, round(lease_s * 1000))
        self._lock = lock_key(release)
        self.staging = new_staging()

    def lock(self) -> None:
        """Take the release's lock. Raises PublishError if another publisher is at work on it."""
        seen: int | None = None
        while not self._client.set(self._lock, self.staging, nx=True, px=self._lease_ms):
            left = int(self._client.pttl(self._lock))
            # Killed or at work? A publisher at work renews its lock before it expires.
            if seen is not None and left > seen:
                raise PublishError(published_elsewhere(self._where, self._release))
            seen = left
            time.sleep(min(0.2, self._lease_ms / 10_000))

    def abandon(self, buckets: int) -> None:
        """Give the lock back and delete what was written, unless it became a release with its answer lost."""
        self._client.eval(UNLOCK, 1, self._lock, self.staging)
        # Without the lock it can no longer become one, so this answer stays true.
        if self._client.hget(release_key(self._release), "attempt") != self.staging.encode():
            delete_staging(self._client, self._release, self.staging, buckets)

    def write(self, batch: Batch, progress: Progress | None) -> None:
        """Write all records, one HSET per bucket."""
        self._client.hset(STAGINGS_KEY, self.staging, f"{self._release} {batch.layout.buckets} {now()}")
        prefix = bucket_prefix(self._release, self.staging)
        users = min(_USERS_PER_FLUSH, _BYTES_PER_FLUSH // batch.source.record_bytes)
        with closing(write_buckets(self._client, prefix, batch, users)) as flushes:
            for written in flushes:
                self._renew()
                if progress is not None:
                    progress(written, len(batch))

    def verify(self, batch: Batch) -> None:
        """Count the records and read some back. Raises PublishError if the store holds anything else."""
        prefix = bucket_prefix(self._release, self.staging)
        buckets, _ = batch.bucket_starts()
        found = 0
        for counted in record_counts(self._client, prefix, buckets.tolist()):
            found += counted
            self._renew()

        def read_back(sample: NDArray[np.int64]) -> list[Any]:
            pipe = self._client.pipeline(transaction=False)
            for place, field in zip(batch.places[sample].tolist(), batch.fields(sample).tolist(), strict=True):
                pipe.hget(prefix + b"%x" % (place >> 40), field)
            return run(pipe)

        batch.check_stored(self._where, found, read_back)

    def complete(self, meta: ReleaseMeta) -> None:
        """Make the staging a release. Raises PublishError if the lock was lost or the release is active."""
        keys = (self._lock, release_key(self._release), RELEASES_KEY, STAGINGS_KEY, HISTORY_KEY)
        pairs = [part for name, value in meta.stored().items() for part in (name, str(value))]
        answer = self._client.eval(COMPLETE, len(keys), *keys, self._release, self.staging, now(), *pairs)
        if answer == b"lost":
            raise PublishError(f"{self._where}: {LEASE_EXPIRED}")
        if answer == b"active":
            raise PublishError(f"{self._where}: release {self._release!r} {IS_ACTIVE}")

    def _renew(self) -> None:
        if not self._client.eval(RENEW, 1, self._lock, self.staging, self._lease_ms):
            raise PublishError(f"{self._where}: {LEASE_EXPIRED}")


def record_counts(client: SyncClient, prefix: bytes, buckets: Sequence[int]) -> Iterator[int]:
    """How many records the buckets of these numbers hold, a few thousand buckets at a time."""
    for numbers in pieces(buckets):
        pipe = client.pipeline(transaction=False)
        for number in numbers:
            pipe.hlen(prefix + b"%x" % number)
        yield sum(run(pipe))


def delete_staging(client: SyncClient, release: str, staging: str, buckets: int) -> None:
    """Delete the buckets of a dead staging, then its name. May be repeated."""
    prefix = bucket_prefix(release, staging)
    for numbers in pieces(range(buckets)):
        pipe = client.pipeline(transaction=False)
        for number in numbers:
            pipe.unlink(prefix + b"%x" % number)
        run(pipe)
    client.hdel(STAGINGS_KEY, staging)


def users_per_bucket(client: SyncClient, record_bytes: int) -> int:
    """A mean bucket size that keeps buckets in Redis's compact encoding, by the server's own limits.

    5/8 of the limit: bucket sizes scatter by their square root, and fold-in adds users later. At most 80: Redis walks
    a bucket to find a field in it. Buckets of 256 would save 0.7 bytes a user and double the time that publishing
    takes of the server.
    """
    settings = _configuration(client)
    limit = int(settings.get("entries", 128))  # 128: of redis.conf, for servers that do not tell
    if record_bytes > int(settings.get("value", 64)):
        _log.warning(
            "hash-max-listpack-value is %s and a record has %d bytes: each user takes 50 bytes more than needed. "
            "Raise it in redis.conf and publish again.",
            settings.get("value", 64),
            record_bytes,
        )
    if limit < 32:
        _log.warning(
            "hash-max-listpack-entries is %d: each user takes 30 to 60 bytes more than needed. Set it to 128 or more.",
            limit,
        )
    return max(16, min(80, limit * 5 // 8))


def _configuration(client: SyncClient) -> dict[str, str]:
    names = {
        "hash-max-listpack-entries": "entries",
        "hash-max-listpack-value": "value",
        "hash-max-ziplist-entries": "entries",  # the names before Redis 7
        "hash-max-ziplist-value": "value",
    }
    try:
        answer: Any = client.config_get("hash-max-*")
    except ResponseError as error:  # hosted servers and ACLs refuse CONFIG
        _log.info("CONFIG GET: %s", error)
        return {}
    return {names[text(name)]: text(value) for name, value in answer.items() if text(name) in names}


def pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """`items`, a few thousand at a time."""
    for start in range(0, len(items), _KEYS_PER_FLUSH):
        yield items[start : start + _KEYS_PER_FLUSH]
