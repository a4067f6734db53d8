"""Draws `Lines`: curves with bands, each named at its end."""

from userip.reporting.axes import Scale, extent, log_extent, log_ticks, spread, thinned, tick_step, ticks
from userip.reporting.blocks import Lines, Series
from userip.reporting.drawing import (
    COLOURS,
    WIDTH,
    finite,
    hues,
    label,
    line,
    mark,
    sheet,
    text_width,
    vertical_axis,
)
from userip.reporting.markup import Markup, element, join, px
from userip.reporting.numbers import write_interval, write_number, write_tick

LEFT, TOP, BOTTOM = 70.0, 34.0, 330.0
NAMES = 215.0
GAP = 17.0
FEW = 24


def draw_lines(block: Lines, key: str) -> Markup:
    """The curves as an SVG element; `key` makes its ids unlike those of other drawings."""
    names = [series.name for series in block.series] + [reference.name for reference in block.references]
    right = WIDTH - 34 - min(NAMES, max((text_width(name) for name in names), default=0))
    across = _across(block, right)
    heights = [y for series in block.series for y in (*series.y, *series.low, *series.high)]
    low, high = (log_extent if block.log_y else extent)(
        [*heights, *(reference.value for reference in block.references)]
    )
    up = Scale(low, high, BOTTOM, TOP, block.log_y)
    about = f"{block.y_label} over {block.x_label}: " + "; ".join(
        f"{series.name} from {write_number(series.y[0], block.kind)} to {write_number(series.y[-1], block.kind)}"
        for series in block.series
        if len(series.y)
    )
    return sheet(
        key,
        BOTTOM + 50,
        block.title,
        about,
        vertical_axis(up, LEFT, right, block.kind),
        label(block.y_label, 0, 10, class_="axis"),
        _x_axis(block, across, right),
        *(line(LEFT, up(reference.value), right, up(reference.value), "reference") for reference in block.references),
        *(_band(series, hue, across, up) for hue, series in zip(hues(block.series), block.series, strict=True)),
        *(_curve(series, hue, across, up, block) for hue, series in zip(hues(block.series), block.series, strict=True)),
        _names(block, across, up, right),
    )


def _across(block: Lines, right: float) -> Scale:
    positions = [x for series in block.series for x in series.x]
    low, high = log_extent(positions) if block.log_x else extent(positions, 0.03)
    return Scale(low, high, LEFT, right, block.log_x)


def _x_axis(block: Lines, across: Scale, right: float) -> Markup:
    met = sorted({x for series in block.series for x in series.x if finite(x)})
    step = tick_step(across.low, across.high, 6)
    # The sizes that were tried are what a reader looks for, as long as they are few.
    exact = len(met) <= FEW and (block.log_x or (len(met) <= 8 and all(x == round(x) for x in met)))
    marked = (log_ticks(across.low, across.high) if block.log_x else ticks(across.low, across.high, 6)) if met else []
    places = met if exact else marked
    texts = [write_number(x, "number") if exact or block.log_x else write_tick(x, step, "number") for x in places]
    room = max((text_width(text) for text in texts), default=0) + 6
    parts = [line(LEFT, BOTTOM, right, BOTTOM, "zero")]
    for number in thinned([across(x) for x in places], room):
        x = across(places[number])
        parts += [
            line(x, BOTTOM, x, BOTTOM + 5, "zero"),
            label(texts[number], x, BOTTOM + 15, anchor="middle", class_="tick"),
        ]
    return join(*parts, label(block.x_label, (LEFT + right) / 2, BOTTOM + 37, anchor="middle", class_="axis"))


def _runs(series: Series, *others: list[float]) -> list[list[int]]:
    """Numbers of the points between two gaps, in the order of x."""
    runs: list[list[int]] = [[]]
    for number in sorted(range(len(series.x)), key=lambda number: series.x[number]):
        if finite(series.x[number], series.y[number], *(other[number] for other in others)):
            runs[-1].append(number)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _band(series: Series, number: int, across: Scale, up: Scale) -> Markup:
    if not len(series.low):
        return Markup("")
    paths = []
    for run in _runs(series, list(series.low), list(series.high)):
        over = [(across(series.x[i]), up(series.high[i])) for i in run]
        under = [(across(series.x[i]), up(series.low[i])) for i in reversed(run)]
        # A single point has an interval too: then the band is a whisker.
        paths.append(
            element(
                "path", d=_path(over + under) + "z", class_=f"{'band' if run[1:] else 'whisker'} c{number % COLOURS}"
            )
        )
    return join(*paths)


def _curve(series: Series, number: int, across: Scale, up: Scale, block: Lines) -> Markup:
    parts = []
    for run in _runs(series):
        points = [(across(series.x[i]), up(series.y[i])) for i in run]
        parts.append(element("path", d=_path(points), class_=f"curve c{number % COLOURS} d{number // COLOURS}"))
        # Of a curve of this many points each mark would hide its neighbours.
        if len(series.x) <= FEW:
            parts += [mark(number, x, y, _tip(series, i, block)) for i, (x, y) in zip(run, points, strict=True)]
    return join(*parts)


def _tip(series: Series, i: int, block: Lines) -> str:
    text = f"{series.name}, {write_number(series.x[i], 'number')}: {write_number(series.y[i], block.kind)}"
    known = len(series.low) and finite(series.low[i], series.high[i])
    return f"{text} {write_interval(series.low[i], series.high[i], block.kind)}" if known else text


def _names(block: Lines, across: Scale, up: Scale, right: float) -> Markup:
    """The name of every curve and reference at the right edge, moved apart, a thin line from its end to its name."""
    ends: list[tuple[int | None, str, float, float]] = []
    for number, series in zip(hues(block.series), block.series, strict=True):
        runs = _runs(series)
        if runs:
            last = runs[-1][-1]
            ends.append((number, series.name, across(series.x[last]), up(series.y[last])))
    ends += [(None, reference.name, right, up(reference.value)) for reference in block.references]
    parts = []
    for (which, name, x, y), place in zip(ends, spread([end[3] for end in ends], GAP, TOP, BOTTOM), strict=True):
        parts.append(line(x + 6 if which is not None else x, y, right + 12, place, "leader"))
        parts.append(Markup("") if which is None else mark(which, right + 18, place))
        parts.append(
            label(
                name,
                right + (14 if which is None else 28),
                place,
                room=NAMES,
                class_="tick" if which is None else None,
            )
        )
    return join(*parts)


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{px(x)} {px(y)}" for x, y in points)
