"""Draws `Intervals`: a row per estimate, its mean a point, its interval a bar, its numbers beside it."""

from userip.reporting.axes import Scale, extent, tick_step, ticks
from userip.reporting.blocks import IntervalRow, Intervals
from userip.reporting.drawing import WIDTH, finite, label, line, sheet, text_width
from userip.reporting.markup import Markup, element, join, px
from userip.reporting.numbers import write_interval, write_number, write_tick

ROW = 26.0
NAMES = 250.0
TOP = 10.0


def draw_intervals(block: Intervals, key: str) -> Markup:
    """The forest plot as an SVG element; `key` makes its ids unlike those of other drawings."""
    groups = grouped(block.rows)
    texts = {row: _numbers(row, block) for row in block.rows}
    left = 12 + min(NAMES, max((text_width(row.name) for row in block.rows), default=0)) + 14
    right = WIDTH - max((text_width(text) for text in texts.values()), default=0) - 14
    top = TOP + 16 * len(block.references)
    bottom = top + ROW * (len(block.rows) + sum(1 for group, _ in groups if group)) + 6
    shown = [end for row in block.rows for end in (row.mean, row.low, row.high)]
    low, high = extent([*shown, *(reference.value for reference in block.references)])
    scale = Scale(low, high, left, right)
    parts, y = [_axis(block, scale, top, bottom)], top + 3 + ROW / 2
    for group, rows in groups:
        if group:
            parts.append(label(group, 0, y, class_="strong", room=right))
            y += ROW
        for row in rows:
            parts.append(label(row.name, 12 if group else 0, y, room=left - 26))
            parts.append(label(texts[row], WIDTH, y, anchor="end", class_="value"))
            parts.append(_row(row, block, scale, y))
            y += ROW
    about = f"{block.axis}: " + "; ".join(f"{row.name} {texts[row]}" for row in block.rows)
    return sheet(key, bottom + 46, block.title, about, *parts)


def grouped(rows: tuple[IntervalRow, ...]) -> list[tuple[str, list[IntervalRow]]]:
    """The groups in the order in which they first occur; rows without one stand above all headings."""
    groups: dict[str, list[IntervalRow]] = {"": []}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return [(name, members) for name, members in groups.items() if members]


def standing(row: IntervalRow, block: Intervals) -> str:
    """better, worse or even: on which side of the first reference the whole interval lies."""
    if not block.references or not finite(row.low, row.high):
        return "even"
    above, below = row.low > block.references[0].value, row.high < block.references[0].value
    if not (above or below):
        return "even"
    return "better" if above == (block.better == "higher") else "worse"


def _numbers(row: IntervalRow, block: Intervals) -> str:
    mean = write_number(row.mean, block.kind)
    return f"{mean} {write_interval(row.low, row.high, block.kind)}" if finite(row.low, row.high) else mean


def _axis(block: Intervals, scale: Scale, top: float, bottom: float) -> Markup:
    step = tick_step(scale.low, scale.high, 4)
    parts = []
    for tick in ticks(scale.low, scale.high, 4):
        parts.append(line(scale(tick), top, scale(tick), bottom, "grid"))
        parts.append(
            label(write_tick(tick, step, block.kind), scale(tick), bottom + 12, anchor="middle", class_="tick")
        )
    for number, reference in enumerate(block.references):
        x, y = scale(reference.value), TOP + 16 * number
        middle = (scale.start + scale.stop) / 2
        # A name ends at its line where there is no room for it behind the line.
        end = x > middle and x + text_width(reference.name) > scale.stop + 20
        parts.append(line(x, y - 6, x, bottom, "reference"))
        anchor = "end" if end else "start"
        parts.append(label(reference.name, x - 5 if end else x + 5, y, anchor=anchor, class_="tick"))
    parts.append(label(block.axis, (scale.start + scale.stop) / 2, bottom + 33, anchor="middle", class_="axis"))
    return join(*parts)


def _row(row: IntervalRow, block: Intervals, scale: Scale, y: float) -> Markup:
    if not finite(row.mean):
        return Markup("")
    parts = [element("title", f"{row.name}: {_numbers(row, block)}")]
    if finite(row.low, row.high):
        start, stop = scale(row.low), scale(row.high)
        parts.append(element("rect", x=start, y=y - 3, width=max(1, stop - start), height=6, rx=3, class_="interval"))
    # The shape says it once more: a disc is better, a square worse, a ring neither.
    x, name = scale(row.mean), standing(row, block)
    if name == "worse":
        parts.append(element("path", d=f"M{px(x - 4.5)} {px(y - 4.5)}h9v9h-9z", class_="point"))
    else:
        parts.append(element("circle", cx=x, cy=y, r=5, class_="point"))
    return element("g", *parts, class_=name)
