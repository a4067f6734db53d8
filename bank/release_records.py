"""The users of a release as a bank is given them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from userip.bank.errors import PublishError
from userip.bank.record import MAX_SLOTS, record_bytes


@dataclass(frozen=True, slots=True, eq=False)
class ReleaseRecords:
    """n users: who they are and what is stored of each, in one order.

    user_ids  [n], anything that has a length, items and slices
    rows      uint32 [n], their rows in the recommender; 0 = unseen when it was trained
    codes     uint16 [n, slots]; 65535 = unknown
    vectors   float32 [n, V], for releases that serve a dense vector per user; else None

    Raises PublishError, naming what is wrong, for shapes or values that do not fit.
    """

    user_ids: Sequence[str]
    rows: NDArray[np.uint32]
    codes: NDArray[np.uint16]
    vectors: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count, rows, codes, vectors = len(self), self.rows, self.codes, self.vectors
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

    def __len__(self) -> int:
        return len(self.user_ids)

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


def _check_range(name: str, values: NDArray[Any], dtype: type[np.unsignedinteger[Any]]) -> None:
    if values.dtype == dtype:
        return
    if not np.issubdtype(values.dtype, np.integer):
        raise PublishError(f"{name}: type {values.dtype}, expected {np.dtype(dtype)}")
    outside = np.argwhere((values < 0) | (values > np.iinfo(dtype).max))
    if len(outside):
        where = tuple(int(index) for index in outside[0])
        raise PublishError(f"{name}: {values[where]} at position {where} is no {np.dtype(dtype)}")
