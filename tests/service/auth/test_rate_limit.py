"""The rate limit against a token bucket that is simulated step by step."""

import random

import pytest

from userip.service.auth.rate_limit import RateLimit


class Bucket:
    """A token bucket as the textbook has it: a count of tokens that refills."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, float(burst), 0.0

    def take(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1 - 1e-6:
            return False
        self.tokens -= 1
        return True


@pytest.mark.parametrize(("rate", "burst"), [(10.0, 1), (10.0, 5), (0.5, 3), (100.0, 100)])
def test_lets_through_what_a_token_bucket_lets_through(rate: float, burst: int) -> None:
    """Over 2,000 arrivals at random times, decision by decision."""
    limit, bucket, generator, now = RateLimit(rate, burst), Bucket(rate, burst), random.Random(1), 0.0
    decisions = []
    for _ in range(2000):
        now += generator.expovariate(rate * 1.5)
        decisions.append(limit.wait("k", None, now) == 0.0)
        assert decisions[-1] == bucket.take(now)
    assert {True, False} == set(decisions)


def test_wait_is_the_time_to_the_next_token() -> None:
    """A refused key is let through after the wait that it was told, and not before."""
    limit = RateLimit(4.0, 2)
    assert [limit.wait("k", None, 1.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(0.25)]
    assert limit.wait("k", None, 1.24) == pytest.approx(0.01)
    assert limit.wait("k", None, 1.25) == 0.0


def test_keys_do_not_share_a_bucket_and_may_have_rates_of_their_own() -> None:
    """One key's requests take nothing from another's; a key's own rate wins over the common one."""
    limit = RateLimit(1.0, 1)
    assert limit.wait("a", None, 0.0) == 0.0
    assert limit.wait("a", None, 0.0) == 1.0
    assert limit.wait("b", 10.0, 0.0) == 0.0
    assert limit.wait("b", 10.0, 0.0) == pytest.approx(0.1)


def test_no_rate_is_no_limit() -> None:
    """0 switches the limit off."""
    limit = RateLimit(0.0, 1)
    assert not any(limit.wait("a", None, 0.0) for _ in range(1000))
