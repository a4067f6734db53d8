"""Laying users out for writing: no two at one place, bad input named."""

import numpy as np
import pytest

from tests.fixtures.banks import COLLIDING, make_users
from userip.bank.batch import Batch
from userip.bank.errors import PublishError
from userip.bank.record import Record, decode
from userip.bank.release_records import ReleaseRecords


def test_every_user_is_at_the_place_of_the_layout() -> None:
    """A reader that knows only layout and slots finds every user's own record."""
    users = make_users(1000)
    batch = Batch.of(users.records, users_per_bucket=80)
    stored = dict(zip(batch.places.tolist(), batch.records(slice(None)).tolist(), strict=True))
    assert batch.layout.buckets == 13
    for number, user_id in enumerate(users.ids):
        bucket, field, tag = batch.layout.locate(user_id)
        value = stored[bucket << 40 | int.from_bytes(field, "big")]
        assert decode(value, tag, 3) == Record(number + 1, (number % 7, number % 1000, 0xFFFF))


@pytest.mark.parametrize("users_per_bucket", [10, 1])
def test_bucket_starts_cut_the_users_by_bucket(users_per_bucket: int) -> None:
    """Every bucket's slice holds exactly the users whose place is in it; buckets without users are left out."""
    users = make_users(500)
    batch = Batch.of(users.records, users_per_bucket)
    buckets, starts = batch.bucket_starts()
    assert set(buckets.tolist()) == {place >> 40 for place in batch.places.tolist()}
    assert len(buckets) == 50 or users_per_bucket == 1
    for number, start, end in zip(buckets, starts, starts[1:], strict=False):
        assert {int(place) >> 40 for place in batch.places[start:end]} == {int(number)}
    assert starts[-1] == 500


def test_two_users_at_one_place_take_another_salt() -> None:
    """A collision inside a release is resolved: both users are found afterwards."""
    batch = Batch.of(
        ReleaseRecords(COLLIDING, np.array([1, 2], np.uint32), np.zeros((2, 1), np.uint16)), users_per_bucket=80
    )
    assert batch.layout.salt == 1
    assert len(set(batch.places.tolist())) == 2


def test_the_same_user_twice_is_refused() -> None:
    """A duplicate is named with both positions instead of one record overwriting the other."""
    with pytest.raises(PublishError, match="'b' is given twice, at positions 1 and 3"):
        Batch.of(
            ReleaseRecords(["a", "b", "c", "b"], np.zeros(4, np.uint32), np.zeros((4, 1), np.uint16)),
            users_per_bucket=80,
        )


def test_wrong_shapes_are_named() -> None:
    """Rows and codes must match the users."""
    with pytest.raises(PublishError, match=r"rows: shape \(3,\)"):
        ReleaseRecords(["a"], np.zeros(3, np.uint32), np.zeros((1, 1), np.uint16))
    with pytest.raises(PublishError, match=r"codes: shape \(1,\)"):
        ReleaseRecords(["a"], np.zeros(1, np.uint32), np.zeros(1, np.uint16))


def test_values_out_of_range_are_named_with_their_position() -> None:
    """Wider integers are accepted when they fit, and refused with their position when they do not."""
    codes = np.array([[1, 2], [3, 65536]])
    with pytest.raises(PublishError, match=r"codes: 65536 at position \(1, 1\)"):
        ReleaseRecords(["a", "b"], np.zeros(2, np.uint32), codes)
    batch = Batch.of(ReleaseRecords(["a", "b"], np.array([7, 8]), codes - 1), users_per_bucket=80)
    assert len(batch) == 2


def test_no_users_make_an_empty_release() -> None:
    """Nothing to write is nothing special."""
    empty = make_users(0)
    assert len(Batch.of(empty.records, users_per_bucket=80)) == 0
