"""The key layout: from a user id to the place of the record.

A salted hash of the user id (BLAKE2b, 16 bytes, keyed where a secret is set: `bank.user_id_secret`) gives three
parts that do not depend on each other:

    bytes 0..4    field   the user's key inside a bucket
    bytes 5..8    bucket  scaled to the release's number of buckets
    bytes 9..12   tag     stored in the record; a value with another tag belongs to another user

Redis holds one hash per bucket: small hashes stay in a compact encoding, a quarter of the memory of one key
per user. LMDB holds one key per user: staging, bucket, field. Salt and number of buckets are in the release's
metadata, so every release can have its own. Two users of one release at the same place are found when it is
published, and the next salt is tried.

Key names carry the layout version. Control keys share a hash tag: a cluster can change them in one step.
"""

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from userip.bank.errors import PublishError

LAYOUT_VERSION: Final = 1
FIELD_BYTES: Final = 5
MAX_BUCKETS: Final = 1 << 24  # bucket and field together are one 64-bit number

_CHUNK: Final = 1 << 16  # users whose digests are held at once
_PREFIX = f"userip:{LAYOUT_VERSION}"
HISTORY_KEY: Final = f"{_PREFIX}:{{bank}}:history"  # list of release names; the first is the active one
RELEASES_KEY: Final = f"{_PREFIX}:{{bank}}:releases"  # set of names of complete releases
STAGINGS_KEY: Final = f"{_PREFIX}:{{bank}}:attempts"  # hash: staging -> "release buckets started"
# "surrogatepass": JSON can carry half a surrogate pair; such an id is as good as any other.
_ENCODING: Final = ("utf-8", "surrogatepass")
_PARTS = struct.Struct("<5sII")
_RELEASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def release_key(release: str) -> str:
    """The Redis key of a complete release's metadata."""
    return f"{_PREFIX}:{{bank}}:release:{release}"


def lock_key(release: str) -> str:
    """The Redis key that names the staging which is writing `release`."""
    return f"{_PREFIX}:{{bank}}:lock:{release}"


def bucket_prefix(release: str, staging: str) -> bytes:
    """What the Redis keys of a staging's buckets begin with; the bucket's number in hexadecimal follows."""
    return f"{_PREFIX}:{release}:{staging}:".encode()


def check_release_name(release: str) -> None:
    """Raise PublishError unless the name is fit for keys, files and URLs."""
    if not _RELEASE_NAME.fullmatch(release):
        raise PublishError(
            f"release {release!r}: a name is 1 to 128 letters, digits or '._-', the first a letter or digit"
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one release keeps its users. `key` (`bank.user_id_secret`) keeps others from finding a place for an id."""

    salt: int
    buckets: int
    key: bytes = field(default=b"", repr=False)

    def locate(self, user_id: str) -> tuple[int, bytes, int]:
        """(bucket, field, tag) of one user."""
        hashed = _salted(self.salt, self.key).copy()
        hashed.update(user_id.encode(*_ENCODING))
        place, scaled, tag = _PARTS.unpack_from(hashed.digest())
        return scaled * self.buckets >> 32, place, tag

    def locate_many(self, user_ids: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """The same for n users: bucket * 2^40 + field (big-endian) as uint64 [n], and tags uint32 [n]."""
        places, tags = np.empty(len(user_ids), np.uint64), np.empty(len(user_ids), np.uint32)
        for start in range(0, len(user_ids), _CHUNK):
            some = slice(start, start + _CHUNK)
            places[some], tags[some] = self._locate_some(user_ids[some])
        return places, tags

    def _locate_some(self, user_ids: Iterable[str]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        salted, joined = _salted(self.salt, self.key), bytearray()
        for user_id in user_ids:  # written out: a call per user, or a list of digests, costs half as much again
            hashed = salted.copy()
            hashed.update(user_id.encode(*_ENCODING))
            joined += hashed.digest()
        digests = np.frombuffer(joined, dtype=np.uint8).reshape(-1, 16)  # [n, 16]
        fields = np.zeros((len(digests), 8), dtype=np.uint8)
        fields[:, 3:] = digests[:, :5]
        buckets = _uint32(digests[:, 5:9]).astype(np.uint64) * np.uint64(self.buckets) >> np.uint64(32)
        return (buckets << np.uint64(40)) | fields.view(">u8").ravel(), _uint32(digests[:, 9:13])


@lru_cache(maxsize=64)
def _salted(salt: int, key: bytes) -> blake2b:
    """The hash of nothing yet: copied for each user, which takes half the time of a new one."""
    return blake2b(digest_size=16, salt=salt.to_bytes(16, "little"), key=key)


def _uint32(columns: NDArray[np.uint8]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(columns).view("<u4").ravel().astype(np.uint32, copy=False)
