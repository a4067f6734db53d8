"""Finished scenarios are kept for the same conditions only."""

from dataclasses import replace
from pathlib import Path

import pytest

from userip.loadtests.errors import BenchInputError, LoadTestError
from userip.loadtests.results import Results
from userip.loadtests.scenarios import Scenario

BASE = Scenario("base", variants=("dcn", "userip"))


def test_kept_for_the_same_conditions_only(tmp_path: Path) -> None:
    """Another seed, or another setting of the scenario, is measured again."""
    Results(tmp_path, {"seed": 1}).keep(BASE, [{"x": 1}])
    assert Results(tmp_path, {"seed": 1}).kept(BASE) == [{"x": 1}]
    assert Results(tmp_path, {"seed": 2}).kept(BASE) is None
    assert Results(tmp_path, {"seed": 1}).kept(replace(BASE, seconds=9.0)) is None
    assert Results(tmp_path, {"seed": 1}).kept(replace(BASE, name="other")) is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """With the fix."""
    (tmp_path / "base.json").write_text("{")
    with pytest.raises(BenchInputError, match=r"base\.json: not JSON; remove it"):
        Results(tmp_path, {}).kept(BASE)


def test_rates_are_shares_of_the_median_throughput(tmp_path: Path) -> None:
    """Of one variant for all, or of each variant itself; a fixed rate stays, a closed loop has none."""
    results = Results(tmp_path, {})
    results.keep(BASE, [{"variant": "dcn", "throughput": value} for value in (100.0, 900.0, 300.0)])
    share = Scenario("at-40", share=0.4, of="dcn", base="base")
    assert results.rate(share, "userip") == pytest.approx(0.4 * 300)
    assert results.rate(replace(share, of=None), "dcn") == pytest.approx(0.4 * 300)
    assert results.rate(Scenario("fixed", rate=7.0), "dcn") == 7.0
    assert results.rate(BASE, "dcn") is None
    with pytest.raises(LoadTestError, match="base has no throughput of userip"):
        results.rate(replace(share, of=None), "userip")
