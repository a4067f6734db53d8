"""Rows that the report cannot be written from."""

import re
from typing import Any

import pytest

from tests.loadtests.report.made_up import load_row, process_row, scale_row
from userip.loadtests.errors import BenchInputError
from userip.loadtests.report.rows import InProcessRow, LoadRow, ReleaseRow, ScaleRow, read_rows


def test_rows_are_told_apart_by_scenario_and_generator() -> None:
    """One of each kind, whatever further keys it has; the order within a kind is kept."""
    release = {"scenario": "release-scale", "users": 5, "items": 6}
    rows = read_rows([release, scale_row("redis", 10, 1.0), load_row(more=1), process_row("dcn", 0.5), load_row("dcn")])
    assert [type(row) for kind in rows for row in kind] == [LoadRow, LoadRow, InProcessRow, ScaleRow, ReleaseRow]
    assert [row.variant for row in rows.load] == ["userip", "dcn"]


@pytest.mark.parametrize(
    "key",
    ["scenario", "variant", "route", "candidates", "rate", "p50_ms", "p95_ms", "p99_ms", "throughput", "failed",
     "generator", "connections", "workers", "cache"],
)  # fmt: skip
def test_a_row_without_a_needed_key_is_named(key: str) -> None:
    """Its number, where it was measured, the key, and what to do."""
    row = load_row()
    del row[key]
    with pytest.raises(BenchInputError, match=rf"^row 1 \(.*\): {key} is missing; measure it again") as error:
        read_rows([load_row(), row])
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (process_row("dcn", 0.5) | {"seconds_per_10k": None}, "row 0 (in-process, dcn): seconds_per_10k: "),
        (scale_row("redis", 10, 1.0) | {"users": "many"}, "row 0 (bank-scale): users: "),
        (load_row(quantiles=[[0.5]]), "row 0 (score-100, userip): quantiles.0.1 is missing"),
        (load_row(throughput="fast", failed=None), "throughput: "),
        (load_row(throughput="fast", failed=None), "; failed: "),
    ],
)
def test_an_impossible_value_is_named(row: dict[str, Any], message: str) -> None:
    """Every key that is wrong, in one line."""
    with pytest.raises(BenchInputError, match=re.escape(message)):
        read_rows([row])
