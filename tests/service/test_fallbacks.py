"""What stands between a request and a bank that fails: cache, breaker, deadline."""

import asyncio
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userip.scoring.breaker import Breaker
from userip.scoring.record_cache import RecordCache
from userip.service.overload.deadlines import Deadlines


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


def test_the_breaker_opens_after_failures_in_a_row_and_closes_when_a_probe_works() -> None:
    """Three failures open it; then one read per second is let through; the first that works closes it."""
    breaker = Breaker(3, retry_s=1)
    for now in (0.0, 0.1):
        breaker.failed(now)
    breaker.succeeded()
    for now in (0.2, 0.3, 0.4):
        assert breaker.allows(now)
        breaker.failed(now)
    assert breaker.is_open
    assert [breaker.allows(now) for now in (0.5, 1.3, 1.5, 1.6, 2.4, 2.6)] == [False, False, True, False, False, True]
    breaker.succeeded()
    assert breaker.allows(2.7)
    assert not breaker.is_open


def test_a_breaker_of_zero_failures_never_opens() -> None:
    """Switched off."""
    breaker = Breaker(0, retry_s=1)
    for _ in range(100):
        breaker.failed(0)
    assert breaker.allows(0)


def test_late_work_is_ended_and_early_work_is_not() -> None:
    """Of many tasks those that take longer than the deadline raise TimeoutError inside, no other."""

    async def work(deadlines: Deadlines, seconds: float) -> str:
        try:
            with deadlines.guard(time.perf_counter()):
                await asyncio.sleep(seconds)
        except TimeoutError:
            return "late"
        await asyncio.sleep(0)  # the cancellation is over: the task goes on
        return "done"

    async def scenario() -> None:
        deadlines = Deadlines(0.2)
        times = [random.choice((0, 0.01, 30)) for _ in range(200)]
        results = await asyncio.gather(*(work(deadlines, seconds) for seconds in times))
        assert results == ["late" if seconds > 1 else "done" for seconds in times]

    asyncio.run(scenario())


def test_a_cancelled_request_stays_cancelled() -> None:
    """Who is cancelled from outside does not look late."""

    async def scenario() -> None:
        deadlines = Deadlines(60)

        async def work() -> None:
            with deadlines.guard(time.perf_counter()):
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
