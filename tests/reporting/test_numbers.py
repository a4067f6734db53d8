"""How numbers are written."""

import math

import pytest

from userip.reporting.blocks import Cell, Estimate, Kind, Verdict
from userip.reporting.numbers import write_cell, write_number, write_tick


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.73119, "metric", "0.7312"),
        (0.00123, "difference", "+0.0012"),
        (-0.00123, "difference", "\u22120.0012"),
        (-0.00001, "difference", "0.0000"),
        (0.9512, "percent", "95.1\u00a0%"),
        (0.01234, "change", "+1.23\u00a0%"),
        (12345.0, "count", "12,345"),
        (1234567.0, "number", "1,234,567"),
        (0.12345, "number", "0.123"),
        (-2.0, "number", "\u22122"),
        (41.26, "seconds", "41.3\u00a0s"),
        (200.0, "seconds", "3.3\u00a0min"),
        (9000.0, "seconds", "2.5\u00a0h"),
        (0.43, "milliseconds", "0.430\u00a0ms"),
        (120.4, "milliseconds", "120\u00a0ms"),
        (4321.0, "milliseconds", "4,321\u00a0ms"),
        (1.3, "ratio", "1.30\u00d7"),
        (12.34, "ratio", "12.3\u00d7"),
        (math.inf, "metric", "\u221e"),
        (math.nan, "metric", "\u2013"),
        (None, "count", "\u2013"),
    ],
)
def test_a_number_is_written_as_its_kind_says(value: float | None, kind: Kind, text: str) -> None:
    """Signs are real minus signs, units keep to their number, and no value is an en dash."""
    assert write_number(value, kind) == text


@pytest.mark.parametrize(
    ("cell", "kind", "text"),
    [
        ("words", "metric", "words"),
        (Estimate(0.0012, -0.0003, 0.0027), "difference", "+0.0012 [\u22120.0003,\u00a0+0.0027]"),
        (Estimate(0.95, 0.9, 1.0), "percent", "95.0\u00a0% [90.0,\u00a0100.0]"),
        (Estimate(0.5, math.nan, math.nan), "metric", "0.5000"),
        (Estimate(1.5, 1.25, 2.0), "milliseconds", "1.50\u00a0ms [1.25,\u00a02.00]"),
        (Verdict("missed", "no"), "metric", "\u2717 missed"),
    ],
)
def test_an_estimate_is_followed_by_its_interval(cell: Cell, kind: Kind, text: str) -> None:
    """The unit stands once, at the mean; an unknown interval is not shown."""
    assert write_cell(cell, kind) == text


@pytest.mark.parametrize(
    ("value", "step", "kind", "text"),
    [
        (0.7, 0.05, "metric", "0.70"),
        (0.002, 0.001, "difference", "+0.002"),
        (0.0, 0.001, "difference", "0"),
        (-0.02, 0.01, "change", "\u22122\u00a0%"),
        (15000, 5000, "count", "15,000"),
        (1500, 500, "seconds", "1,500\u00a0s"),
    ],
)
def test_a_tick_has_the_decimals_that_its_distance_needs(value: float, step: float, kind: Kind, text: str) -> None:
    """Numbers at an axis are told apart, and no longer than that takes."""
    assert write_tick(value, step, kind) == text


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [(0.3, "milliseconds", "0.3\u00a0ms"), (20_000.0, "count", "20,000"), (1.5, "seconds", "1.5\u00a0s")],
)
def test_a_round_number_at_a_logarithmic_axis_is_short(value: float, kind: Kind, text: str) -> None:
    """No zeros behind it that say nothing, but its unit."""
    assert write_tick(value, None, kind) == text
