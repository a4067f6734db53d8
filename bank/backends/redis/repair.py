"""Writing again the records that a complete release in Redis has lost, while it is served.

Every record is offered to its place, and Redis takes it where there is none (HSETNX): readers never miss a record that
was there, and never see one older than a fold-in. Cut short, what is still lost still counts as lost.
"""

from typing import Final

from userip.bank.backends.redis.client import SyncClient, meta_of
from userip.bank.backends.redis.publish import delete_staging, record_counts
from userip.bank.backends.redis.scripts import SETTLE
from userip.bank.backends.redis.write import run
from userip.bank.batch import Batch
from userip.bank.errors import PublishError
from userip.bank.layout import bucket_prefix, release_key
from userip.bank.protocol import Repaired
from userip.bank.release_meta import WAS_REPLACED, ReleaseMeta, now

_USERS_PER_STEP: Final = 5_000
_BYTES_PER_STEP: Final = 1 << 20  # of records, where they are long


def repair(client: SyncClient, where: str, release: str, meta: ReleaseMeta, batch: Batch) -> Repaired:
    """Write what is lost of `batch`, which lies in the layout of `meta`. Raises PublishError."""
    prefix = bucket_prefix(release, meta.staging)
    written = _fill(client, prefix, batch)
    if written and _fill(client, prefix, batch):
        raise PublishError(
            f"{where}: records of {release!r} vanish while they are written; give Redis more memory, and set "
            "maxmemory-policy to noeviction"
        )
    while True:
        raw = client.hgetall(release_key(release))
        if not raw or (held := meta_of(raw)).staging != meta.staging:
            # Pruned or replaced: what was written after its records were deleted belongs to nobody.
            delete_staging(client, release, meta.staging, meta.buckets)
            raise PublishError(f"{where}: release {release!r} {WAS_REPLACED}")
        found = sum(record_counts(client, prefix, range(meta.buckets)))
        if found >= held.users:
            return Repaired(written, 0)
        if client.eval(SETTLE, 1, release_key(release), meta.staging, held.users, found, now()) == 1:
            return Repaired(written, held.users - found)


def _fill(client: SyncClient, prefix: bytes, batch: Batch) -> int:
    """Offer every record to its place; how many were taken."""
    written = 0
    for some in batch.slices(_USERS_PER_STEP, _BYTES_PER_STEP):
        pipe = client.pipeline(transaction=False)
        fields, records = batch.fields(some).tolist(), batch.records(some).tolist()
        for place, field, record in zip(batch.places[some].tolist(), fields, records, strict=True):
            pipe.hsetnx(prefix + b"%x" % (place >> 40), field, record)
        written += sum(run(pipe))
    return written
