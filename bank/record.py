"""The record codec: what the bank stores for one user.

A record is 9 + 2 K + 4 V bytes, little-endian, the same in every backend:

    offset  bytes  type        meaning
    0       1      uint8       record version, 1
    1       4      uint32      tag: an independent hash of the user id; tells another user's value apart
    5       4      uint32      the user's row in the recommender, 0 = unseen when it was trained
    9       2 K    uint16 [K]  codes, one per slot; 0xFFFF = unknown
    9 + 2K  4 V    float32 [V] a dense vector; V = 0 for profiles of codes, which is what this store is made for
"""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from userip.bank.errors import RecordError

RECORD_VERSION: Final = 1
UNKNOWN_CODE: Final = 0xFFFF
MAX_SLOTS: Final = 255

_HEADER = struct.Struct("<BII")
_CODES = tuple(struct.Struct(f"<{slots}H") for slots in range(MAX_SLOTS + 1))


def rows_of_codes(codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Rows of an embedding table, int64: code k is row k + 1, an unknown code row 0."""
    rows: NDArray[np.int64] = (codes.astype(np.int64) + 1) % (UNKNOWN_CODE + 1)
    return rows


def codes_of_rows(rows: NDArray[np.integer]) -> NDArray[np.uint16]:
    """The inverse of `rows_of_codes`, uint16."""
    return ((rows.astype(np.int64) - 1) % (UNKNOWN_CODE + 1)).astype(np.uint16)


@dataclass(frozen=True, slots=True)
class Record:
    """A user's row in the recommender and the K codes of the profile. The tag stays inside the bank.

    vector  V little-endian float32, for releases that serve a dense vector per user (text-embedding baselines)
    """

    row: int
    codes: tuple[int, ...]
    vector: bytes = b""


def record_bytes(slots: int, vector: int = 0) -> int:
    """The size of a record with `slots` codes and `vector` floats. Raises RecordError outside 0..255 codes."""
    if not 0 <= slots <= MAX_SLOTS:
        raise RecordError(f"slots: {slots}; a record holds 0 to {MAX_SLOTS} codes")
    return _HEADER.size + 2 * slots + 4 * vector


def encode(record: Record, tag: int) -> bytes:
    """One record as bytes. Raises RecordError naming the value that does not fit."""
    record_bytes(len(record.codes))
    try:
        header = _HEADER.pack(RECORD_VERSION, tag, record.row)
        return header + _CODES[len(record.codes)].pack(*record.codes) + record.vector
    except struct.error:
        raise RecordError(f"row {record.row!r}, codes {record.codes!r}: a row is a uint32, a code a uint16") from None


def decode(value: bytes, tag: int, slots: int, vector: int = 0) -> Record | None:
    """The record in `value`, or None if it belongs to another user (its tag differs).

    Raises RecordError for a value of another length or version.
    """
    size = _HEADER.size + 2 * slots
    if len(value) != size + 4 * vector:
        floats = f" and {vector} floats" if vector else ""
        raise RecordError(f"a record of {slots} codes{floats} has {size + 4 * vector} bytes, found {len(value)}")
    version, found, row = _HEADER.unpack_from(value)
    if version != RECORD_VERSION:
        raise RecordError(f"record version {version}, this version of userip reads {RECORD_VERSION}")
    if found != tag:
        return None
    return Record(row, _CODES[slots].unpack_from(value, _HEADER.size), value[size:])


def is_of(value: bytes | None, tag: int) -> bool:
    """Whether `value` is the record of the user with that tag, sound or damaged."""
    return value is not None and value[1:5] == tag.to_bytes(4, "little")


def look_up(value: bytes | None, tag: int, slots: int, vector: int = 0) -> Record | RecordError | None:
    """`decode` for batches: None for no value or another user's, the error itself for a damaged one."""
    if value is None:
        return None
    try:
        return decode(value, tag, slots, vector)
    except RecordError as error:
        return error


def encode_many(
    tags: NDArray[np.uint32],
    rows: NDArray[np.uint32],
    codes: NDArray[np.uint16],
    vectors: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """n records at once: tags [n], rows [n], codes [n, K], vectors [n, V] -> uint8 [n, 9 + 2 K + 4 V]."""
    count, slots = codes.shape
    floats = 0 if vectors is None else vectors.shape[1]
    values = np.empty((count, record_bytes(slots, floats)), dtype=np.uint8)
    values[:, 0] = RECORD_VERSION
    for start, column in ((1, tags), (5, rows)):
        little = np.ascontiguousarray(column, dtype="<u4")
        values[:, start : start + 4] = little.view(np.uint8).reshape(count, 4)
    if slots:
        values[:, 9 : 9 + 2 * slots] = np.ascontiguousarray(codes, dtype="<u2").view(np.uint8).reshape(count, 2 * slots)
    if vectors is not None:
        values[:, 9 + 2 * slots :] = np.ascontiguousarray(vectors, dtype="<f4").view(np.uint8).reshape(count, -1)
    return values
