"""The record codec: what the bank stores for one user.

A record is 9 + 2 K bytes, little-endian, the same in every backend:

    offset  bytes  type        meaning
    0       1      uint8       record version, 1
    1       4      uint32      tag: an independent hash of the user id; tells another user's value apart
    5       4      uint32      the user's row in the recommender, 0 = unseen when it was trained
    9       2 K    uint16 [K]  codes, one per slot; 0xFFFF = unknown
"""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bank.errors import RecordError

RECORD_VERSION: Final = 1
UNKNOWN_CODE: Final = 0xFFFF
MAX_SLOTS: Final = 255

_HEADER = struct.Struct("<BII")
_CODES = tuple(struct.Struct(f"<{slots}H") for slots in range(MAX_SLOTS + 1))


@dataclass(frozen=True, slots=True)
class Record:
    """A user's row in the recommender and the K codes of the profile. The tag stays inside the bank."""

    row: int
    codes: tuple[int, ...]


def record_bytes(slots: int) -> int:
    """The size of a record with `slots` codes. Raises RecordError outside 0..255."""
    if not 0 <= slots <= MAX_SLOTS:
        raise RecordError(f"slots: {slots}; a record holds 0 to {MAX_SLOTS} codes")
    return _HEADER.size + 2 * slots


def encode(record: Record, tag: int) -> bytes:
    """One record as bytes. Raises RecordError naming the value that does not fit."""
    record_bytes(len(record.codes))
    try:
        return _HEADER.pack(RECORD_VERSION, tag, record.row) + _CODES[len(record.codes)].pack(*record.codes)
    except struct.error:
        raise RecordError(f"row {record.row!r}, codes {record.codes!r}: a row is a uint32, a code a uint16") from None


def decode(value: bytes, tag: int, slots: int) -> Record | None:
    """The record in `value`, or None if it belongs to another user (its tag differs).

    Raises RecordError for a value of another length or version.
    """
    if len(value) != _HEADER.size + 2 * slots:
        raise RecordError(f"a record of {slots} codes has {record_bytes(slots)} bytes, found {len(value)}")
    version, found, row = _HEADER.unpack_from(value)
    if version != RECORD_VERSION:
        raise RecordError(f"record version {version}, this version of userip reads {RECORD_VERSION}")
    if found != tag:
        return None
    return Record(row, _CODES[slots].unpack_from(value, _HEADER.size))


def look_up(value: bytes | None, tag: int, slots: int) -> Record | RecordError | None:
    """`decode` for batches: None for no value or another user's, the error itself for a damaged one."""
    if value is None:
        return None
    try:
        return decode(value, tag, slots)
    except RecordError as error:
        return error


def encode_many(tags: NDArray[np.uint32], rows: NDArray[np.uint32], codes: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """n records at once: tags [n], rows [n], codes [n, K] -> uint8 [n, 9 + 2 K], the bytes of `encode`."""
    count, slots = codes.shape
    values = np.empty((count, record_bytes(slots)), dtype=np.uint8)
    values[:, 0] = RECORD_VERSION
    for start, column in ((1, tags), (5, rows)):
        little = np.ascontiguousarray(column, dtype="<u4")
        values[:, start : start + 4] = little.view(np.uint8).reshape(count, 4)
    if slots:
        values[:, 9:] = np.ascontiguousarray(codes, dtype="<u2").view(np.uint8).reshape(count, 2 * slots)
    return values
