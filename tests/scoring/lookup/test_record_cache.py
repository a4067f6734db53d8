"""Profiles that were read a moment ago: their TTL, and which ones stay."""

from hypothesis import given
from hypothesis import strategies as st

from userip.scoring.lookup.record_cache import RecordCache


def test_a_value_is_fresh_for_a_while_and_stale_afterwards() -> None:
    """`get` believes a value until its time is up; `stale` gives it even then."""
    cache: RecordCache[str] = RecordCache(10, seconds=5)
    cache.put("r", "ann", "A", now=100)
    assert cache.get("r", "ann", 104.9) == "A"
    assert cache.get("r", "ann", 105) is None
    assert cache.stale("r", "ann") == "A"
    assert cache.get("r", "bob", 100) is None
    assert cache.stale("r", "bob") is None


def test_another_release_forgets_everything() -> None:
    """Codes of one release mean nothing to another, and the old one gives nothing back afterwards."""
    cache: RecordCache[str] = RecordCache(10, seconds=5)
    cache.put("old", "ann", "A", now=0)
    assert cache.get("new", "ann", 0) is None
    cache.put("new", "ann", "B", now=0)
    assert cache.get("old", "ann", 0) is None
    assert cache.stale("old", "ann") is None
    assert cache.get("new", "ann", 0) == "B"


def test_a_capacity_of_zero_keeps_nothing() -> None:
    """Switched off."""
    cache: RecordCache[str] = RecordCache(0, seconds=5)
    cache.put("r", "ann", "A", now=0)
    assert cache.stale("r", "ann") is None
    assert len(cache) == 0


@given(st.integers(1, 9), st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=200))
def test_the_cache_is_bounded_and_never_wrong(capacity: int, steps: list[tuple[bool, int]]) -> None:
    """Whatever is put and asked for: a value found is the last one put for that user."""
    cache: RecordCache[int] = RecordCache(capacity, seconds=1000)
    last: dict[str, int] = {}
    for number, (put, user) in enumerate(steps):
        if put:
            cache.put("r", str(user), number, now=0)
            last[str(user)] = number
            assert cache.get("r", str(user), 1) == number
        else:
            assert cache.get("r", str(user), 1) in (None, last.get(str(user)))
        assert len(cache) <= capacity + 1


def test_who_is_asked_for_often_stays() -> None:
    """A user asked for again and again survives any number of others."""
    cache: RecordCache[str] = RecordCache(10, seconds=1000)
    cache.put("r", "often", "A", now=0)
    for number in range(1000):
        cache.put("r", f"once-{number}", "B", now=0)
        assert cache.get("r", "often", 0) == "A"
