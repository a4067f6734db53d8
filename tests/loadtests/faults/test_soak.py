"""What grows is found, and what only wavers is not."""

import numpy as np
import pytest

from userip.loadtests.errors import BenchInputError
from userip.loadtests.faults.soak import Look, judge, seconds_of, slope_interval


def test_durations() -> None:
    """Seconds, minutes and hours; anything else is refused by name."""
    assert [seconds_of(text) for text in ("90", "30s", "1.5m", "2h")] == [90, 30, 90, 7200]
    with pytest.raises(BenchInputError, match="--duration soon"):
        seconds_of("soon")


def test_the_interval_holds_the_planted_slope() -> None:
    """Around a line with noise that lingers, the planted slope is inside, in nearly all of many draws; zero is not."""
    rng = np.random.default_rng(0)
    times = np.arange(300.0)
    inside = 0
    for seed in range(40):
        noise = np.convolve(rng.normal(size=310), np.ones(5) / 5)[5:305]
        low, high = slope_interval(times, 0.01 * times + noise, seed)
        inside += low <= 0.01 <= high
        assert low > 0
    assert inside >= 36


def _looks(growth: float, failed: int = 0) -> list[Look]:
    rng = np.random.default_rng(1)
    return [
        Look(5.0 * i, 1 + rng.normal() / 50, 3 + rng.normal() / 10, 100 + growth * i + rng.normal() / 10, 40, failed)
        for i in range(200)
    ]


def test_memory_that_grows_is_told() -> None:
    """A tenth of a MiB per look fails the memory alone; steady figures hold; a failed request is told as such."""
    assert all(gate.ok for gate in judge(_looks(0)))
    assert [gate.gate for gate in judge(_looks(0.1)) if not gate.ok] == ["rss_mb per hour"]
    assert [gate.gate for gate in judge(_looks(0, failed=1)) if not gate.ok] == ["failed requests"]
    assert [gate.ok for gate in judge(_looks(0)[:5])] == [True, None]
