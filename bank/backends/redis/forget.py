"""Deleting one user's record from a release in Redis. The record goes first, and then the release says so."""

import struct

from userip.bank.backends.redis.client import SyncClient, meta_of
from userip.bank.backends.redis.scripts import FORGET, FORGOTTEN
from userip.bank.layout import bucket_prefix, release_key
from userip.bank.release_meta import ReleaseMeta, now


def forget(client: SyncClient, release: str, meta: ReleaseMeta, user_id: str) -> bool:
    """Whether there was a record. A release that is replaced meanwhile is looked at again."""
    bucket, field, tag = meta.layout.locate(user_id)
    key = bucket_prefix(release, meta.staging) + b"%x" % bucket
    deleted = int(client.eval(FORGET, 1, key, field, struct.pack("<I", tag)))
    if client.eval(FORGOTTEN, 1, release_key(release), meta.staging, -deleted, now()) == 1:
        return bool(deleted)
    raw = client.hgetall(release_key(release))
    return forget(client, release, meta_of(raw), user_id) if raw else bool(deleted)
