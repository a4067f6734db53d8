"""Where the marks of the drawings stand, by hand computation."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from tests.reporting import sample
from userip.reporting import codemap
from userip.reporting.blocks import Bars, BarSeries, CodeMap, IntervalRow, Intervals, Lines, Reference, Series
from userip.reporting.codemap import draw_codemap, how_many_drawn
from userip.reporting.columns import draw_bars
from userip.reporting.curves import draw_lines
from userip.reporting.forest import draw_intervals


def marks(drawing: str, class_: str) -> list[ET.Element]:
    """The elements of one class."""
    return [part for part in ET.fromstring(drawing).iter() if class_ in (part.get("class") or "").split()]


def tick_places(drawing: str) -> dict[str, tuple[float, float]]:
    """Where the numbers at the axes stand: their text, x and y."""
    return {part.text or "": (float(part.get("x") or 0), float(part.get("y") or 0)) for part in marks(drawing, "tick")}


def numbers(path: ET.Element) -> list[float]:
    """All numbers of a path."""
    return [float(number) for number in re.findall(r"-?[\d.]+", path.get("d") or "")]


def between(value: float, low: tuple[float, float], high: tuple[float, float]) -> float:
    """The pixel of `value`, read off two ticks (value, pixel), as a reader with a ruler would."""
    return low[1] + (value - low[0]) / (high[0] - low[0]) * (high[1] - low[1])


def test_an_interval_begins_and_ends_where_its_numbers_stand_at_the_axis() -> None:
    """Read off with a ruler: mean 0.001, from -0.0005 to 0.0025."""
    drawing = draw_intervals(Intervals("t", "axis", (IntervalRow("a", 0.001, -0.0005, 0.0025),)), "k")
    places = tick_places(drawing)
    zero, one = (0.0, places["0.000"][0] if "0.000" in places else places["0"][0]), (0.001, places["+0.001"][0])
    (bar,) = marks(drawing, "interval")
    left, width = float(bar.get("x") or 0), float(bar.get("width") or 0)
    assert left == pytest.approx(between(-0.0005, zero, one), abs=0.2)
    assert left + width == pytest.approx(between(0.0025, zero, one), abs=0.3)
    (point,) = marks(drawing, "point")
    assert float(point.get("cx") or 0) == pytest.approx(between(0.001, zero, one), abs=0.2)


def test_an_interval_is_better_or_worse_only_if_it_excludes_the_reference() -> None:
    """One above, one below and one around the reference 0.5; where lower is better, the first two change places."""
    rows = (IntervalRow("a", 0.7, 0.6, 0.8), IntervalRow("b", 0.3, 0.2, 0.4), IntervalRow("c", 0.5, 0.4, 0.6))
    reference = (Reference("half", 0.5),)
    higher = ET.fromstring(draw_intervals(Intervals("t", "axis", rows, reference), "k"))
    lower = ET.fromstring(draw_intervals(Intervals("t", "axis", rows, reference, better="lower"), "k"))
    without = ET.fromstring(draw_intervals(Intervals("t", "axis", rows, ()), "k"))
    assert [group.get("class") for group in higher.findall("g")] == ["better", "worse", "even"]
    assert [group.get("class") for group in lower.findall("g")] == ["worse", "better", "even"]
    assert [group.get("class") for group in without.findall("g")] == ["even", "even", "even"]


def test_a_curve_runs_through_its_points_on_a_logarithmic_axis() -> None:
    """x = 1, 2, 4 are equally far apart, and y stands where the axis says."""
    block = Lines("t", "x", "y", (Series("s", (1, 2, 4), (0.5, 0.7, 0.9)),), log_x=True, kind="number")
    drawing = draw_lines(block, "k")
    (curve,) = marks(drawing, "curve")
    x1, y1, x2, y2, x3, y3 = numbers(curve)
    places = tick_places(drawing)
    assert [x1, x2, x3] == pytest.approx([places[text][0] for text in "124"], abs=0.1)
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    five, eight = (0.5, places["0.5"][1]), (0.8, places["0.8"][1])
    # A text is set on its base line, some pixels below its middle: that much all ticks have in common.
    offset = y1 - five[1]
    assert [y2 - offset, y3 - offset] == pytest.approx([between(0.7, five, eight), between(0.9, five, eight)], abs=0.3)
    assert y1 > y2 > y3


def test_heights_on_a_logarithmic_axis_grow_by_factors() -> None:
    """From 1 over 10 to 100 the curve climbs as far twice, past ticks at 1, 10 and 100."""
    block = Lines("t", "x", "y", (Series("s", (4, 5, 6), (1, 10, 100)),), kind="number", log_y=True)
    drawing = draw_lines(block, "k")
    (curve,) = marks(drawing, "curve")
    _, y1, _, y2, _, y3 = numbers(curve)
    places = tick_places(drawing)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
    assert places["1"][1] - places["10"][1] == pytest.approx(y1 - y2, abs=0.2)
    assert places["10"][1] - places["100"][1] == pytest.approx(y2 - y3, abs=0.2)


def test_a_series_keeps_its_own_colour_and_mark() -> None:
    """Hue 3 in a plot where it stands alone, in curves, in bars and in their legend; without one, its place."""
    curves = draw_lines(Lines("t", "x", "y", (Series("s", (1, 2), (1, 2), (0, 1), (2, 3), hue=3),)), "k")
    assert set(re.findall(r"\bc(\d)\b", curves)) == {"3"}
    bars = draw_bars(Bars("t", "x", "y", ("a",), (BarSeries("s", (1,), hue=3), BarSeries("t", (2,)))), "k")
    assert re.findall(r"\bc(\d)\b", bars) == ["3", "1", "3", "1"]


def test_a_curve_of_many_points_is_a_line_without_marks() -> None:
    """Of a hundred points on a logarithmic axis, ticks stand at powers of ten, and one mark beside the name."""
    points = [10 ** (number / 50 - 1) for number in range(1, 101)]
    drawing = draw_lines(Lines("t", "x", "y", (Series("s", points, points),), log_x=True), "k")
    assert drawing.count("translate(") == 1
    assert {"0.1", "1", "10"} <= set(tick_places(drawing))


def test_a_curve_and_its_band_break_where_a_value_is_missing() -> None:
    """Nothing is drawn across the gap; a lone point keeps its interval as a whisker."""
    nan = float("nan")
    y = (1.0, 2.0, nan, 3.0)
    series = Series("s", (1, 2, 3, 4), y, tuple(v - 0.1 for v in y), tuple(v + 0.1 for v in y))
    drawing = draw_lines(Lines("t", "x", "y", (series,)), "k")
    assert [len(numbers(curve)) // 2 for curve in marks(drawing, "curve")] == [2, 1]
    assert [len(numbers(band)) // 2 for band in marks(drawing, "band")] == [4]
    assert [len(numbers(band)) // 2 for band in marks(drawing, "whisker")] == [2]
    assert "nan" not in drawing


def test_bars_stand_on_zero_and_are_as_high_as_their_values() -> None:
    """Twice the value is twice the height; a value below zero hangs from the line."""
    drawing = draw_bars(Bars("t", "x", "y", ("a", "b", "c"), (BarSeries("s", (10, 20, -5)),)), "k")
    heights = [float(bar.get("height") or 0) for bar in marks(drawing, "bar")]
    tops = [float(bar.get("y") or 0) for bar in marks(drawing, "bar")]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.3)
    assert heights[2] == pytest.approx(heights[0] / 2, abs=0.3)
    assert tops[0] + heights[0] == pytest.approx(tops[1] + heights[1], abs=0.2)
    assert tops[2] == pytest.approx(tops[0] + heights[0], abs=0.2)


def test_bars_of_one_label_stand_beside_each_other() -> None:
    """Two series, four bars, none over another."""
    series = (BarSeries("s", (1, 2)), BarSeries("t", (3, 4)))
    drawing = draw_bars(Bars("t", "x", "y", ("a", "b"), series), "k")
    spans = sorted((float(bar.get("x") or 0), float(bar.get("width") or 0)) for bar in marks(drawing, "bar"))
    assert len(spans) == 4
    assert all(x + width <= after for (x, width), (after, _) in pairwise(spans))


def test_a_code_map_keeps_distances_and_counts_every_code() -> None:
    """Users at 0, 1 and 3 on both axes: the third is three times as far from the first as the second is."""
    drawing = draw_codemap(CodeMap("t", (0, 1, 3), (0, 1, 3), (0, 1, 2)), "k")
    places = [tuple(numbers(cloud)[:2]) for cloud in marks(drawing, "dots")]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x2 - x0 == pytest.approx(3 * (x1 - x0), abs=3)
    assert y0 - y2 == pytest.approx(3 * (y0 - y1), abs=3)
    assert x1 - x0 == pytest.approx(y0 - y1, abs=2)
    assert "3 users in 3 codes" in drawing


def test_a_code_map_of_many_users_draws_some_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 users where 40 may be drawn: every third, 34 of them."""
    monkeypatch.setattr(codemap, "DRAWN", 40)
    block = CodeMap("t", tuple(range(100)), tuple(range(100)), (0,) * 100)
    assert sum((cloud.get("d") or "").count("M") for cloud in marks(draw_codemap(block, "k"), "dots")) == 34
    assert how_many_drawn(block) == "One in 3 of the 100 users is drawn."
    assert not how_many_drawn(sample.CODEMAP)


def test_a_code_map_of_thousands_of_users_is_a_small_file() -> None:
    """100,000 users take less than 80 kB."""
    number = range(100_000)
    block = CodeMap(
        "t", tuple(i * 7919 % 1009 for i in number), tuple(i * 104729 % 997 for i in number), (0,) * 100_000
    )
    assert len(draw_codemap(block, "k").encode()) < 80_000


def test_rows_of_one_group_stand_together_below_those_without() -> None:
    """Given a, b of two groups, c of the first and d of none: d, then a and c, then b."""
    rows = (("a", "one"), ("b", "two"), ("c", "one"), ("d", ""))
    block = Intervals("t", "axis", tuple(IntervalRow(name, 0.1, 0, 0.2, group) for name, group in rows))
    texts = [part.text for part in ET.fromstring(draw_intervals(block, "k")).findall("text")]
    assert [text for text in texts if text in {"one", "two", "a", "b", "c", "d"}] == ["d", "one", "a", "c", "two", "b"]
