"""Ranges, ticks and pixels."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userip.reporting.axes import Scale, extent, log_extent, log_ticks, spread, thinned, ticks


def test_a_linear_scale_puts_a_quarter_of_the_range_on_a_quarter_of_the_pixels() -> None:
    """Also downwards, as heights of a plot go."""
    assert Scale(10, 30, 100, 500)(15) == pytest.approx(200)
    assert Scale(0, 4, 300, 100)(1) == pytest.approx(250)


def test_a_logarithmic_scale_gives_equal_factors_equal_pixels() -> None:
    """From 1 to 100, 10 stands in the middle."""
    assert Scale(1, 100, 0, 200, log=True)(10) == pytest.approx(100)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-0.0031, 0.0062, [-0.002, 0.0, 0.002, 0.004, 0.006]),
        (0.7012, 0.7488, [0.71, 0.72, 0.73, 0.74]),
        (0, 13000, [0, 2000, 4000, 6000, 8000, 10000, 12000]),
    ],
)
def test_ticks_are_round_numbers_inside_the_range(low: float, high: float, expected: list[float]) -> None:
    """Steps are 1, 2 or 5 times a power of ten; the numbers have no rounding dust."""
    assert ticks(low, high) == expected


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_there_are_always_a_few_ticks(low: float, span: float) -> None:
    """Between two and nine, all of them inside."""
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 9
    # A millionth of the span, and what a float as large as `low` cannot tell apart.
    slack = 1e-6 * span + 4 * math.ulp(abs(low) + span)
    assert all(low - slack <= tick <= low + span + slack for tick in found)


def test_logarithmic_ticks_are_round_and_enough() -> None:
    """Powers of ten over many decades, multiples over few, plain steps where the range is less than a few."""
    assert log_ticks(0.5, 2000) == [1, 10, 100, 1000]
    assert log_ticks(1, 20) == [1, 2, 5, 10, 20]
    assert log_ticks(1.01, 1.06) == [1.01, 1.02, 1.03, 1.04, 1.05, 1.06]


def test_the_range_leaves_room_and_is_never_empty() -> None:
    """Values that are not finite do not count; one value stands in the middle; none at all gives some range."""
    assert extent([1, 2, math.nan, math.inf], 0.1) == pytest.approx((0.9, 2.1))
    assert extent([4, 4]) == (2, 6)
    assert extent([0]) == (-1, 1)
    assert extent([]) == (0, 1)
    assert log_extent([1, 100, 0], 0.5) == pytest.approx((0.1, 1000))


def test_labels_move_apart_but_keep_their_order() -> None:
    """Two that wish the same place end a gap apart; one that is far off stays where it is."""
    assert spread([50, 50, 100], 10, 0, 200) == [50, 60, 100]
    assert spread([5, 195, 199], 10, 0, 200) == [5, 190, 200]
    assert spread([200, 200, 100], 10, 0, 200) == [190, 200, 100]


def test_ticks_too_close_to_the_one_before_lose_their_number() -> None:
    """The first always keeps its own."""
    assert thinned([0, 10, 25, 30, 60], 20) == [0, 2, 4]
