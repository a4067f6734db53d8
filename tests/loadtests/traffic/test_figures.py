"""Figures of a window, against a sorted list."""

import math

import pytest

from userip.loadtests.traffic.figures import SHARES, figures


def test_quantiles_are_nearest_rank() -> None:
    """The value at share q is the ceil(q n)-th smallest, one that was measured."""
    latencies = [((37 * i) % 251) / 1000 for i in range(250)]
    seen = figures(
        latencies,
        2.0,
        failures={"status 503": 2, "no answer": 1, "closed": 0},
        counts=(9, 1),
        lateness=[0.001] * 99 + [0.5],
    )
    ranked = sorted(latencies)

    def at(share: float) -> float:
        return ranked[max(math.ceil(round(share * 250, 6)) - 1, 0)] * 1000

    assert (seen.p50_ms, seen.p95_ms, seen.p99_ms) == pytest.approx((at(0.5), at(0.95), at(0.99)))
    assert [share for share, _ in seen.quantiles] == list(SHARES)
    assert [ms for _, ms in seen.quantiles] == pytest.approx([at(share) for share in SHARES])
    assert (seen.throughput, seen.requests, seen.failed, seen.verified, seen.wrong) == (125, 250, 3, 9, 1)
    assert seen.failures == {"status 503": 2, "no answer": 1}


def test_nothing_measured_is_no_zero() -> None:
    """Without an answer there are no latencies, rather than small ones."""
    seen = figures([], 1.0, failures={"no answer": 7})
    assert (seen.p50_ms, seen.p99_ms, seen.throughput, seen.quantiles, seen.late_ms) == (None, None, 0, (), None)
