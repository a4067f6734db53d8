"""A release's users as they are written: checked, laid out without collisions, encoded, sorted by place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from userip.bank.errors import PublishError
from userip.bank.layout import FIELD_BYTES, MAX_BUCKETS, Layout
from userip.bank.record import encode_many
from userip.bank.release_records import ReleaseRecords
from userip.bank.user_id_secret import user_key

Users = slice | NDArray[np.int64]  # positions in a batch

_SAMPLE: Final = 4096  # records that are read back
_SALTS: Final = 16  # at 10^9 users a salt fails with a probability of about one in a thousand


@dataclass(frozen=True, slots=True)
class Batch:
    """n users sorted by place. Records are encoded as they are asked for: a release in memory is its input and 20 bytes
    a user.

    places  uint64 [n], bucket * 2^40 + field, rising
    order   int64 [n], the position of each in `tags` uint32 [n] and `source`
    """

    layout: Layout
    places: NDArray[np.uint64]
    order: NDArray[np.int64]
    tags: NDArray[np.uint32]
    source: ReleaseRecords

    def __len__(self) -> int:
        return len(self.places)

    @classmethod
    def of(cls, source: ReleaseRecords, users_per_bucket: int) -> "Batch":
        """Lay out. Raises PublishError for a user that is given twice."""
        buckets = -(-len(source) // users_per_bucket) or 1
        layout, places, tags, order = _lay_out(source.user_ids, min(buckets, MAX_BUCKETS))
        return cls(layout, places, order, tags, source)

    @classmethod
    def in_layout(cls, layout: Layout, source: ReleaseRecords) -> "Batch":
        """The same, in the places that a release has given them already."""
        places, tags = layout.locate_many(source.user_ids)
        order = np.argsort(places)
        return cls(layout, places[order], order, tags, source)

    def slices(self, users: int, record_bytes: int) -> Iterator[slice]:
        """All of it in turn: at a time so many users, or bytes of their records, at most, and one user at least."""
        step = max(1, min(users, record_bytes // self.source.record_bytes))
        return (slice(start, start + step) for start in range(0, len(self), step))

    def fields(self, users: Users) -> NDArray[np.void]:
        """The keys of m `users` inside their buckets, as 5-byte values [m]."""
        big = self.places[users].astype(">u8").view(np.uint8).reshape(-1, 8)
        return np.ascontiguousarray(big[:, 8 - FIELD_BYTES :]).view(f"V{FIELD_BYTES}").ravel()

    def records(self, users: Users) -> NDArray[np.void]:
        """The records of m `users` as opaque values [m]."""
        at, source = self.order[users], self.source
        vectors = None if source.vectors is None else source.vectors[at]
        values = encode_many(self.tags[at], source.rows[at], source.codes[at], vectors)
        return values.view(f"V{values.shape[1]}").ravel()

    def bucket_starts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the buckets that hold users [m], and where each begins, the end appended [m + 1]."""
        first_places = np.arange(self.layout.buckets, dtype=np.uint64) << np.uint64(40)
        starts = np.append(np.searchsorted(self.places, first_places), len(self))
        buckets = np.flatnonzero(np.diff(starts))
        return buckets, np.append(starts[buckets], len(self))

    def check_stored(self, where: str, found: int, read_back: Callable[[NDArray[np.int64]], list[Any]]) -> None:
        """Check what was written: `found` records, and by `read_back` those at sorted positions [m], chosen at random.

        Raises PublishError if the store at `where` holds anything else.
        """
        sample = np.sort(np.random.default_rng().choice(len(self), size=min(_SAMPLE, len(self)), replace=False))
        problem = f"{len(self)} written, {found} found" if found != len(self) else ""
        if not problem and len(sample) and read_back(sample) != self.records(sample).tolist():
            problem = "a record reads back different"
        if problem:
            raise PublishError(f"{where}: verification failed: {problem}; the active release is unchanged")


def _lay_out(
    user_ids: Sequence[str], buckets: int
) -> tuple[Layout, NDArray[np.uint64], NDArray[np.uint32], NDArray[np.int64]]:
    """The first salt's layout that gives every user a place of their own; places sorted, tags, order of the places."""
    key = user_key()
    for salt in range(_SALTS):
        layout = Layout(salt, buckets, key)
        places, tags = layout.locate_many(user_ids)
        order = np.argsort(places)
        places.sort()  # rather than places[order]: in place
        shared = np.flatnonzero(places[1:] == places[:-1])
        if not len(shared):
            return layout, places, tags, order
        for first, second in np.sort([order[shared], order[shared + 1]], axis=0).T.tolist():
            if user_ids[first] == user_ids[second]:
                raise PublishError(f"user_ids: {user_ids[first]!r} is given twice, at positions {first} and {second}")
    raise PublishError(f"no salt in {_SALTS} gives {len(user_ids)} users places of their own")
