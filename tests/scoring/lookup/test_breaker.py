"""A bank that fails again and again is left alone for a while."""

from userip.scoring.lookup.breaker import Breaker


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
