"""Draws `WordLists` as cards and `Heat` as a table of coloured cells: both are text first."""

import math

from userip.reporting.axes import Scale
from userip.reporting.blocks import Heat, Word, WordGroup, WordLists
from userip.reporting.drawing import finite
from userip.reporting.markup import Markup, element
from userip.reporting.numbers import NBSP, NOTHING, TIMES, write_interval, write_number

DENSE = 16


def draw_words(block: WordLists) -> Markup:
    """A card per code; bars of all cards have one scale, the logarithm of the lift from 1 on."""
    ends = [end for group in block.groups for word in group.words for end in (word.lift, word.high)]
    scale = Scale(1.0, max([1.01, *(end for end in ends if finite(end))]), 0, 200, log=True)
    return element("div", *(_card(group, scale) for group in block.groups), class_="cards")


def draw_heat(block: Heat) -> Markup:
    """The grid as a table: the further from the centre (or the least number), the stronger its colour."""
    known = [value for row in block.values for value in row if value is not None and finite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    centre = low if block.centre is None else block.centre
    reach = max(high - centre, centre - low) or 1.0
    dense = len(block.columns) > DENSE
    head = element("tr", element("td", class_="corner"), *(element("th", name, scope="col") for name in block.columns))
    rows = [
        element("tr", element("th", name, scope="row"), *(_cell(block, value, centre, reach) for value in values))
        for name, values in zip(block.rows, block.values, strict=True)
    ]
    table = element("table", element("thead", head), element("tbody", *rows), class_="heat dense" if dense else "heat")
    return element("div", table, class_="wide")


def what_axes_are(block: Heat) -> str:
    """What the caption says of the rows and columns; nothing where they have no name."""
    named = (("Down", block.row_label), ("across", block.column_label))
    text = ", ".join(f"{where}: {name}" for where, name in named if name)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _card(group: WordGroup, scale: Scale) -> Markup:
    about = element("span", group.about) if group.about else ""
    words = [_word(word, scale) for word in group.words] or [element("li", element("span", NOTHING))]
    return element("div", element("h4", element("bdi", group.name), about), element("ul", *words), class_="card")


def _word(word: Word, scale: Scale) -> Markup:
    lift = write_number(word.lift, "number") + ("" if math.isnan(word.lift) else f"{NBSP}{TIMES}")
    known = finite(word.low, word.high)
    bars = [element("rect", x=0, y=3.5, width=200, height=1, class_="rail")]
    if finite(word.lift) and word.lift > 1:
        bars.append(element("rect", x=0, y=1, width=scale(word.lift), height=6, rx=1, class_="c0"))
    if known and word.high > 1:
        start, stop = (scale(max(1.0, end)) for end in (word.low, word.high))
        bars.append(element("rect", x=start, y=3.2, width=stop - start, height=1.6, class_="reach"))
    # The number stands beside it: for a screen reader the bar says nothing more.
    bar = element("svg", *bars, viewBox="0 0 200 8", preserveAspectRatio="none", aria_hidden="true")
    interval = element("span", " " + write_interval(word.low, word.high, "number"), class_="soft") if known else ""
    return element("li", element("span", word.word), element("span", lift, interval), bar)


def _cell(block: Heat, value: float | None, centre: float, reach: float) -> Markup:
    if value is None or not finite(value):
        return element("td", write_number(value, block.kind), style="--part:0%")
    part = min(1.0, abs(value - centre) / reach)
    hue = "c0" if value >= centre else "c1"
    text = write_number(value, block.kind)
    return element("td", text, class_=hue, style=f"--part:{round(100 * part)}%", title=text)
