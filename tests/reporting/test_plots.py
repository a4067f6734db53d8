"""The plots: what is coloured how, what is left out, and that the same block gives the same bytes."""

import re
from xml.etree import ElementTree as ET

import matplotlib
import pytest

from tests.reporting import sample
from userip.reporting import plots
from userip.reporting.blocks import CodeMap, IntervalRow, Intervals, Lines, Plot, Reference, Series
from userip.reporting.page import html
from userip.reporting.plots import draw, drawn_of
from userip.reporting.tables import as_table

PLOTS: tuple[Plot, ...] = (sample.INTERVALS, sample.LINES, sample.NAMED, sample.CODEMAP)
NAN, INF = float("nan"), float("inf")


def colours(drawing: str, name: str) -> int:
    """How many marks or lines have a colour of the style sheet."""
    return drawing.count(f"var(--{name})")


def texts(drawing: str) -> list[str]:
    """All words of a drawing, as they are read."""
    return [part.text or "" for part in ET.fromstring(drawing).iter("text")]


@pytest.mark.parametrize("block", PLOTS, ids=lambda block: type(block).__name__)
def test_a_plot_is_named_follows_the_style_sheet_and_is_drawn_alike_again(block: Plot) -> None:
    """It is an image with a title; every colour is a variable, so dark mode reaches it; the bytes are the same."""
    drawing = draw(block, "k")
    parts = ET.fromstring(drawing)
    assert (parts.get("role"), parts[0].tag) == ("img", "title")
    assert parts[0].text
    assert not re.search(r"(fill|stroke): (?!none|var\()", drawing)
    assert draw(block, "k") == drawing


def test_the_readers_own_matplotlib_settings_change_nothing() -> None:
    """Neither are they changed by drawing."""
    before = draw(sample.NAMED, "k")
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "path"}):
        assert draw(sample.NAMED, "k") == before
        assert matplotlib.rcParams["font.size"] == 30


def test_two_drawings_share_no_ids() -> None:
    """Where a page has the same plot twice, each refers to its own parts."""
    ids = [set(re.findall(r'id="([^"]+)"', draw(sample.LINES, key))) for key in ("a", "b")]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_an_interval_is_better_or_worse_only_if_it_excludes_the_reference() -> None:
    """One above, one below and one around the reference 0.5; where lower is better, the first two change places."""
    rows = (IntervalRow("a", 0.7, 0.6, 0.8), IntervalRow("b", 0.3, 0.2, 0.4), IntervalRow("c", 0.5, 0.4, 0.6))
    reference = (Reference("half", 0.5),)
    found = {
        "higher": Intervals("t", "axis", rows[::2], reference),
        "lower": Intervals("t", "axis", rows[::2], reference, better="lower"),
        "without": Intervals("t", "axis", rows, ()),
    }
    drawn = {name: draw(block, "k") for name, block in found.items()}
    has = {name: (colours(one, "yes") > 0, colours(one, "no") > 0) for name, one in drawn.items()}
    assert has == {"higher": (True, False), "lower": (False, True), "without": (False, False)}
    told = [row[2] for row in as_table(Intervals("t", "axis", rows, reference)).rows[:3]]
    assert told == ["better", "worse", "undecided"]


def test_a_plot_shows_the_numbers_of_its_table() -> None:
    """Beside each interval stands what the table behind the plot says."""
    rows = (IntervalRow("a", 0.001, -0.0005, 0.0025), IntervalRow("b", NAN, NAN, NAN))
    found = texts(draw(Intervals("t", "axis", rows), "k"))
    assert "+0.0010 [\u22120.0005,\u00a0+0.0025]" in found
    assert "\u2013" in [text.strip() for text in found]


def test_a_dollar_in_a_title_is_a_dollar() -> None:
    """matplotlib reads no formula out of somebody's data, and letters that its font lacks go to the browser."""
    name = r"$\alpha$ \N{x} 映画"
    assert name in texts(draw(Lines("t", "x", "y", (Series(name, (1, 2), (1, 2)),)), "k"))


def test_a_series_keeps_its_own_colour() -> None:
    """Hue 3 in a plot where it stands alone; without one, its place."""
    curves = draw(Lines("t", "x", "y", (Series("s", (1, 2), (1, 2), (0, 1), (2, 3), hue=3),)), "k")
    assert set(re.findall(r"var\(--hue(\d)\)", curves)) == {"3"}
    two = draw(Lines("t", "x", "y", (Series("s", (1,), (1,), hue=3), Series("t", (1,), (2,)))), "k")
    assert set(re.findall(r"var\(--hue(\d)\)", two)) == {"3", "1"}


def test_logarithmic_axes_have_the_sizes_that_were_measured() -> None:
    """Ticks stand at each x, whatever its distance to a power of ten; heights at round numbers."""
    found = texts(
        draw(Lines("t", "x", "y", (Series("s", (3, 17, 90), (1, 10, 100)),), True, log_y=True, kind="count"), "k")
    )
    assert {"3", "17", "90", "1", "10", "100"} <= set(found)


def test_names_at_the_axis_keep_their_order() -> None:
    """Shares of requests are words, not numbers."""
    block = Lines("t", "x", "y", (Series("s", ("50 %", "99 %"), (1, 2)), Series("t", ("50 %", "9 %"), (1, 2))))
    assert [text for text in texts(draw(block, "k")) if "%" in text] == ["50 %", "99 %", "9 %"]
    assert as_table(block).rows == (("50 %", 1, 1), ("99 %", 2, None), ("9 %", None, 2))


def test_nothing_is_drawn_where_a_value_is_missing() -> None:
    """A curve and its band break there."""
    y = (1.0, 2.0, NAN, 3.0)
    series = Series("s", (1, 2, 3, 4), y, tuple(v - 0.1 for v in y), tuple(v + 0.1 for v in y))
    assert "nan" not in draw(Lines("t", "x", "y", (series,)), "k")


@pytest.mark.parametrize(
    "block",
    [
        Intervals("t", "a", (IntervalRow("a", INF, -INF, INF), IntervalRow("b", 1, 0.5, INF)), (Reference("r", NAN),)),
        Lines(
            "t", "x", "y", (Series("s", (1, 2, 3), (1, INF, 2), (0, 1, -INF), (INF, 2, 3)), Series("e", (1,), (INF,)))
        ),
        Lines("t", "x", "y", (Series("s", (1, 2), (1, INF)),), log_x=True, log_y=True),
    ],
    ids=["intervals", "lines", "logarithmic"],
)
def test_a_value_without_bound_leaves_the_others_drawn(block: Plot) -> None:
    """Ratios to nothing are infinite: the plot goes without them, its table has them."""
    assert not re.search(r"\b(nan|inf)\b", draw(block, "k"))


def test_a_code_map_of_many_users_draws_some_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 users where 40 may be drawn: every third, 34 of them."""
    monkeypatch.setattr(plots, "DRAWN", 40)
    block = CodeMap("t", tuple(range(100)), tuple(range(100)), (0,) * 100)
    assert draw(block, "k").count("h0") == 34
    page = html(sample.of(block))
    assert "One in 3 of the 100 users is drawn." in page
    assert drawn_of(sample.CODEMAP) == 1


def test_a_code_map_of_thousands_of_users_is_a_small_file() -> None:
    """100,000 users take less than 80 kB."""
    number = range(100_000)
    block = CodeMap(
        "t", tuple(i * 7919 % 1009 for i in number), tuple(i * 104729 % 997 for i in number), (0,) * 100_000
    )
    assert len(draw(block, "k").encode()) < 80_000


def test_rows_of_one_group_stand_together_below_those_without() -> None:
    """Given a, b of two groups, c of the first and d of none: d, then a and c, then b."""
    rows = (("a", "one"), ("b", "two"), ("c", "one"), ("d", ""))
    block = Intervals("t", "axis", tuple(IntervalRow(name, 0.1, 0, 0.2, group) for name, group in rows))
    assert [row[0] for row in as_table(block).rows] == ["d", "one", "a", "c", "two", "b"]
    assert [text for text in texts(draw(block, "k")) if text in "abcd"] == ["d", "a", "c", "b"]
