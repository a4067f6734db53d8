"""The key layout: stable over processes and versions, the same one by one and all at once."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import userip.bank.layout
from userip.bank.errors import PublishError
from userip.bank.layout import Layout, bucket_prefix, check_release_name, lock_key, release_key


def test_golden_place() -> None:
    """A user's place follows from BLAKE2b as the module's docstring says: stored banks depend on it."""
    digest = hashlib.blake2b("Zoë".encode(), digest_size=16, salt=b"\x03" + bytes(15)).digest()
    assert digest.hex() == "caa540baf10804725a1f4b86524442a9"
    bucket = int.from_bytes(digest[5:9], "little") * 12_500 // 2**32
    expected = (bucket, digest[:5], int.from_bytes(digest[9:13], "little"))
    assert Layout(salt=3, buckets=12_500).locate("Zoë") == expected


def test_golden_keys() -> None:
    """Keys carry the layout version and the release; control keys share the hash tag {bank}."""
    assert bucket_prefix("r-1", "00c0ffee") == b"userip:1:r-1:00c0ffee:"
    assert release_key("r-1") == "userip:1:{bank}:release:r-1"
    assert lock_key("r-1") == "userip:1:{bank}:lock:r-1"


@given(
    st.lists(st.text(max_size=20), min_size=1, max_size=50),
    st.integers(0, 15),
    st.integers(1, 1 << 24),
)
def test_places_agree_with_place(user_ids: list[str], salt: int, buckets: int) -> None:
    """Publishing (all at once) and reading (one by one) find the same place."""
    layout = Layout(salt, buckets)
    places, tags = layout.locate_many(user_ids)
    expected = [layout.locate(user_id) for user_id in user_ids]
    assert places.tolist() == [b << 40 | int.from_bytes(field, "big") for b, field, _ in expected]
    assert tags.tolist() == [tag for _, _, tag in expected]
    assert all(0 <= bucket < buckets for bucket, _, _ in expected)


def test_places_do_not_depend_on_how_many_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users beyond the first piece, the last one of a piece among them, are placed as alone."""
    monkeypatch.setattr(userip.bank.layout, "_CHUNK", 7)
    user_ids = [f"user-{number}" for number in range(29)]
    places, tags = Layout(1, 1000).locate_many(user_ids)
    expected = [Layout(1, 1000).locate(user_id) for user_id in user_ids]
    assert places.tolist() == [b << 40 | int.from_bytes(field, "big") for b, field, _ in expected]
    assert tags.tolist() == [tag for _, _, tag in expected]


def test_half_a_surrogate_pair_is_an_id_like_any_other() -> None:
    """JSON can carry a lone surrogate; it must not become a server error."""
    assert Layout(0, 7).locate("\ud800") != Layout(0, 7).locate("\udfff")


def test_buckets_fill_evenly() -> None:
    """Buckets scatter no more than chance: chi-square over 100 buckets below its 0.9999 quantile."""
    places, _ = Layout(0, 100).locate_many([str(i) for i in range(20_000)])
    counts = np.bincount((places >> np.uint64(40)).astype(int), minlength=100)
    assert ((counts - 200.0) ** 2 / 200).sum() < 161.3  # chi2.ppf(0.9999, 99) = 161.32


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "a:b", "a{b}", "ä", "a\n", "x" * 129])
def test_unfit_release_names_are_refused(name: str) -> None:
    """A name that would break a key, a path or a URL is refused by publishing."""
    with pytest.raises(PublishError, match="release"):
        check_release_name(name)
