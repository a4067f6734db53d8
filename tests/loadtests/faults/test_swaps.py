"""Hot swaps under load: twenty of them here, two broken; `make chaos` does two hundred."""

from pathlib import Path

import pytest

from userip.loadtests.faults.swaps import growth, swap_under_load


@pytest.mark.slow
def test_swaps_under_load_lose_no_request_and_leave_nothing_behind(tmp_path: Path) -> None:
    """Every request answered, rightly for the release it names; broken ones refused; old tables unmapped."""
    gates = {gate.gate: gate for gate in swap_under_load(tmp_path, 20, rate=100, items=300, candidates=10)}
    memory = gates.pop("growth of resident memory")  # judged over 200 swaps: so few are mostly the first of each kind
    assert len(gates) == 4
    assert {name: gate.value for name, gate in gates.items()} == dict.fromkeys(gates, 0)
    assert memory.value is not None
    assert memory.value < 0.3


def test_growth_is_taken_between_the_second_tenth_and_the_last() -> None:
    """The first tenth, when everything happens for the first time, does not count; nor does one odd sample."""
    assert growth([50, 50, 50, 100, 100, 900, *[100] * 21, 100, 900, 100]) == pytest.approx(0.0)
    assert growth([50, 50, 100, 100, *[101] * 14, 110, 110]) == pytest.approx(0.1)
