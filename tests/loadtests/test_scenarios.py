"""The scenarios of the presets fit together."""

import pytest

from userip.loadtests.errors import BenchInputError
from userip.loadtests.scenarios import ALL, GATE_RATE, PRESETS, SATURATION, Preset, Scenario, choose


@pytest.mark.parametrize("preset", PRESETS)
def test_names_are_unique_and_bases_come_first(preset: Preset) -> None:
    """A share of a saturation needs that measured before, in a closed loop, for the variants that it is taken of."""
    seen: dict[str, Scenario] = {}
    for scenario in PRESETS[preset]:
        assert scenario.name not in seen
        assert scenario.repeats >= 1
        assert scenario.seconds > 0
        if scenario.share is not None:
            base = seen[scenario.base]
            assert base.closed
            assert {scenario.of} if scenario.of else {*scenario.variants} <= {*base.variants}
        seen[scenario.name] = scenario


@pytest.mark.parametrize("preset", PRESETS)
def test_what_was_asked_for_is_covered(preset: Preset) -> None:
    """1, 10, 100, 500 candidates; three routes; three caches; 1 and 2 workers; open and closed; two generators."""
    scenarios = PRESETS[preset]
    assert {scenario.candidates for scenario in scenarios} == {1, 10, 100, 500}
    assert {scenario.route for scenario in scenarios} == {"/score", "/score/batch", "/profile"}
    assert {scenario.cache for scenario in scenarios} == {"off", "cold", "warm"}
    assert {scenario.workers for scenario in scenarios} == {1, 2}
    assert {scenario.closed for scenario in scenarios} == {True, False}
    assert {scenario.generator for scenario in scenarios} == {"own", "locust"}
    assert {variant for scenario in scenarios for variant in scenario.variants} == set(ALL)


def test_the_quick_preset_is_quick() -> None:
    """The windows of the quick preset together take less than three minutes."""
    windows = [(s.seconds + s.warm_up) * s.repeats * len(s.variants) for s in PRESETS["quick"]]
    assert sum(windows) < 180


def test_only_some_with_what_they_rest_on() -> None:
    """A scenario at a share of the saturation brings the scenario that measures it; order is kept."""
    assert [scenario.name for scenario in choose("quick", [GATE_RATE])] == [SATURATION, GATE_RATE]
    assert [scenario.name for scenario in choose("quick", ["profile"])] == ["profile"]
    assert choose("quick") == PRESETS["quick"]


def test_an_unknown_scenario_is_named_with_those_there_are() -> None:
    """One line with the fix."""
    with pytest.raises(BenchInputError, match=r"--only nonsense: the preset quick has score-100, "):
        choose("quick", ["nonsense"])
