"""Deleting one user's record from a release in Redis: in one step; on a cluster first the record, then its number."""

import struct

import redis

from userip.bank.backends.redis.client import SyncClient, meta_of
from userip.bank.backends.redis.scripts import FORGET, FORGOTTEN
from userip.bank.layout import bucket_prefix, release_key
from userip.bank.release_meta import ReleaseMeta, now


def forget(client: SyncClient, release: str, meta: ReleaseMeta, user_id: str) -> bool:
    """Whether there was a record. A release that is replaced meanwhile is looked at again."""
    bucket, field, tag = meta.layout.locate(user_id)
    place, key, staging = bucket_prefix(release, meta.staging) + b"%x" % bucket, release_key(release), meta.staging
    record, time = (field, struct.pack("<I", tag)), now()
    if isinstance(client, redis.Redis):
        deleted = int(client.eval(FORGET, 2, key, place, staging, *record, time))
        replaced = deleted < 0
    else:
        deleted = int(client.eval(FORGET, 1, place, "", *record, time))
        replaced = client.eval(FORGOTTEN, 1, key, staging, -deleted, time) == 0
    if replaced and (raw := client.hgetall(key)):
        return forget(client, release, meta_of(raw), user_id)
    return deleted > 0
