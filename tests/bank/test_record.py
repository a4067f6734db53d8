"""The record codec: its bytes are fixed, and damaged ones are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from userip.bank.errors import RecordError
from userip.bank.record import UNKNOWN_CODE, Record, decode, encode, encode_many, look_up

GOLDEN = bytes.fromhex("01 78563412 efbeadde 0100 2c01 ffff")  # written by hand from the table in bank/record.py
uint16 = st.integers(0, 0xFFFF)
uint32 = st.integers(0, 0xFFFFFFFF)


def test_golden_bytes() -> None:
    """Version 1 is a version byte, tag, row and codes, little-endian: stored banks depend on it."""
    record = Record(0xDEADBEEF, (1, 300, UNKNOWN_CODE))
    assert encode(record, 0x12345678) == GOLDEN
    assert decode(GOLDEN, 0x12345678, 3) == record


@given(uint32, uint32, st.lists(uint16, max_size=255))
def test_decode_undoes_encode(tag: int, row: int, codes: list[int]) -> None:
    """Every record comes back as it went in."""
    record = Record(row, tuple(codes))
    assert decode(encode(record, tag), tag, len(codes)) == record


@given(
    st.integers(0, 6).flatmap(lambda k: st.lists(st.tuples(uint32, uint32, st.lists(uint16, min_size=k, max_size=k))))
)
def test_encode_many_writes_the_bytes_of_encode(users: list[tuple[int, int, list[int]]]) -> None:
    """The vectorised encoder of publishing and the scalar one of upsert agree byte for byte."""
    slots = len(users[0][2]) if users else 2
    tags, rows = (np.array([user[i] for user in users], dtype=np.uint32) for i in (0, 1))
    codes = np.array([user[2] for user in users], dtype=np.uint16).reshape(len(users), slots)
    expected = [encode(Record(row, tuple(found)), tag) for tag, row, found in users]
    assert [row.tobytes() for row in encode_many(tags, rows, codes)] == expected


def test_another_users_value_is_nobody() -> None:
    """A record whose tag differs belongs to another user: the user asked for is unknown, not wrong."""
    assert decode(GOLDEN, 0x12345679, 3) is None


@pytest.mark.parametrize("value", [b"", GOLDEN[:-1], GOLDEN + b"\0", b"\x02" + GOLDEN[1:]])
def test_damaged_values_are_refused(value: bytes) -> None:
    """Another length or version is an error, which a batch carries in its place."""
    with pytest.raises(RecordError):
        decode(value, 0x12345678, 3)
    assert isinstance(look_up(value, 0x12345678, 3), RecordError)


def test_no_value_is_nobody() -> None:
    """A missing value means an unknown user."""
    assert look_up(None, 1, 3) is None


@pytest.mark.parametrize("record", [Record(-1, ()), Record(1 << 32, ()), Record(0, (65536,)), Record(0, (-1,))])
def test_values_that_do_not_fit_are_refused(record: Record) -> None:
    """Nothing is cut to size silently."""
    with pytest.raises(RecordError, match="uint32"):
        encode(record, 0)


def test_too_many_codes_are_refused() -> None:
    """A record holds at most 255 codes."""
    with pytest.raises(RecordError, match="256"):
        encode(Record(0, (0,) * 256), 0)


def test_golden_bytes_of_a_record_with_a_vector() -> None:
    """The vector stands behind the codes, little-endian float32; without one nothing changes."""
    vector = np.array([1.0, -2.5], dtype="<f4")
    record = Record(row=7, codes=(1, 0xFFFF), vector=vector.tobytes())
    expected = bytes.fromhex("0104030201070000000100ffff0000803f000020c0")
    assert encode(record, tag=0x01020304) == expected
    assert decode(expected, 0x01020304, slots=2, vector=2) == record
    with pytest.raises(RecordError, match="2 codes has 13 bytes, found 21"):
        decode(expected, 0x01020304, slots=2)
    many = encode_many(
        np.array([0x01020304], np.uint32),
        np.array([7], np.uint32),
        np.array([[1, 0xFFFF]], np.uint16),
        vector[None],
    )
    assert many.tobytes() == expected
