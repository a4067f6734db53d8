"""A release's users as they are written: checked, laid out without collisions, encoded, sorted by place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from userip.bank.errors import PublishError
from userip.bank.layout import FIELD_BYTES, MAX_BUCKETS, Layout
from userip.bank.record import MAX_SLOTS, encode_many, record_bytes
from userip.bank.user_id_secret import user_key

Users = slice | NDArray[np.int64]  # positions in a batch

_SALTS: Final = 16  # at 10^9 users a salt fails with a probability of about one in a thousand


@dataclass(frozen=True, slots=True)
class Batch:
    """n users sorted by place. Records are encoded as they are asked for: a release in memory is its input and 20 bytes
    a user.

    places  uint64 [n], bucket * 2^40 + field, rising
    order   int64 [n], the position of each in the input: tags [n], rows [n], codes [n, slots], vectors [n, V] or None
    """

    layout: Layout
    places: NDArray[np.uint64]
    order: NDArray[np.int64]
    tags: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    codes: NDArray[np.uint16]
    vectors: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.places)

    @classmethod
    def of(
        cls,
        user_ids: Sequence[str],
        rows: NDArray[np.uint32],
        codes: NDArray[np.uint16],
        users_per_bucket: int,
        vectors: NDArray[np.float32] | None = None,
    ) -> "Batch":
        """Check and lay out; rows [n], codes [n, slots], vectors [n, V]. Raises PublishError saying where it is bad."""
        check_input(user_ids, rows, codes, vectors)
        buckets = -(-len(user_ids) // users_per_bucket) or 1
        layout, places, tags, order = _lay_out(user_ids, min(buckets, MAX_BUCKETS))
        return cls(layout, places, order, tags, rows, codes, vectors)

    @classmethod
    def in_layout(
        cls,
        layout: Layout,
        user_ids: Sequence[str],
        rows: NDArray[np.uint32],
        codes: NDArray[np.uint16],
        vectors: NDArray[np.float32] | None = None,
    ) -> "Batch":
        """The same, in the places that a release has given them already. Raises PublishError."""
        check_input(user_ids, rows, codes, vectors)
        places, tags = layout.places(user_ids)
        order = np.argsort(places)
        return cls(layout, places[order], order, tags, rows, codes, vectors)

    def slices(self, users: int, record_bytes: int) -> Iterator[slice]:
        """All of it in turn: at a time so many users, or bytes of their records, at most, and one user at least."""
        step = max(1, min(users, record_bytes // self.record_bytes))
        return (slice(start, start + step) for start in range(0, len(self), step))

    @property
    def slots(self) -> int:
        """Codes of a record."""
        return int(self.codes.shape[1])

    @property
    def vector(self) -> int:
        """Floats of a record."""
        return 0 if self.vectors is None else int(self.vectors.shape[1])

    @property
    def record_bytes(self) -> int:
        """The size of a record."""
        return record_bytes(self.slots, self.vector)

    def fields(self, users: Users) -> NDArray[np.void]:
        """The keys of m `users` inside their buckets, as 5-byte values [m]."""
        big = self.places[users].astype(">u8").view(np.uint8).reshape(-1, 8)
        return np.ascontiguousarray(big[:, 8 - FIELD_BYTES :]).view(f"V{FIELD_BYTES}").ravel()

    def records(self, users: Users) -> NDArray[np.void]:
        """The records of m `users` as opaque values [m]."""
        at = self.order[users]
        vectors = None if self.vectors is None else self.vectors[at]
        values = encode_many(self.tags[at], self.rows[at], self.codes[at], vectors)
        return values.view(f"V{values.shape[1]}").ravel()

    def bucket_starts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the buckets that hold users [m], and where each begins, the end appended [m + 1]."""
        first_places = np.arange(self.layout.buckets, dtype=np.uint64) << np.uint64(40)
        starts = np.append(np.searchsorted(self.places, first_places), len(self))
        buckets = np.flatnonzero(np.diff(starts))
        return buckets, np.append(starts[buckets], len(self))

    def sample(self, size: int) -> NDArray[np.int64]:
        """Sorted positions of at most `size` users, spread at random, for reading back what was written."""
        generator = np.random.default_rng()
        return np.sort(generator.choice(len(self), size=min(size, len(self)), replace=False))


def check_input(
    user_ids: Sequence[str],
    rows: NDArray[np.uint32],
    codes: NDArray[np.uint16],
    vectors: NDArray[np.float32] | None = None,
) -> None:
    """Raise PublishError unless rows [n], codes [n, slots] and vectors [n, V] match the users and fit their types."""
    count = len(user_ids)
    if rows.shape != (count,):
        raise PublishError(f"rows: shape {rows.shape}, expected ({count},), one row per user id")
    if codes.ndim != 2 or len(codes) != count or codes.shape[1] > MAX_SLOTS:
        raise PublishError(f"codes: shape {codes.shape}, expected ({count}, slots) with at most {MAX_SLOTS} slots")
    if vectors is not None and (vectors.ndim != 2 or len(vectors) != count or vectors.dtype != np.float32):
        raise PublishError(f"vectors: {vectors.dtype} {vectors.shape}, expected float32 ({count}, floats)")
    if vectors is not None and not np.isfinite(vectors).all():
        raise PublishError("vectors: some values are not finite")
    _check_range("rows", rows, np.uint32)
    _check_range("codes", codes, np.uint16)


def _lay_out(
    user_ids: Sequence[str], buckets: int
) -> tuple[Layout, NDArray[np.uint64], NDArray[np.uint32], NDArray[np.int64]]:
    """The first salt's layout that gives every user a place of their own; places sorted, tags, order of the places."""
    key = user_key()
    for salt in range(_SALTS):
        layout = Layout(salt, buckets, key)
        places, tags = layout.places(user_ids)
        order = np.argsort(places)
        places.sort()  # rather than places[order]: in place
        shared = np.flatnonzero(places[1:] == places[:-1])
        if not len(shared):
            return layout, places, tags, order
        for first, second in np.sort([order[shared], order[shared + 1]], axis=0).T.tolist():
            if user_ids[first] == user_ids[second]:
                raise PublishError(
                    f"user_ids: {user_ids[first]!r} stands at positions {first} and {second}; each user once"
                )
    raise PublishError(f"no salt in {_SALTS} gives {len(user_ids)} users places of their own")


def _check_range(name: str, values: NDArray[Any], dtype: type[np.unsignedinteger[Any]]) -> None:
    if values.dtype == dtype:
        return
    if not np.issubdtype(values.dtype, np.integer):
        raise PublishError(f"{name}: type {values.dtype}, expected {np.dtype(dtype)}")
    outside = np.argwhere((values < 0) | (values > np.iinfo(dtype).max))
    if len(outside):
        where = tuple(int(index) for index in outside[0])
        raise PublishError(f"{name}: {values[where]} at position {where} is no {np.dtype(dtype)}")
