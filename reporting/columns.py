"""Draws `Bars`: upright bars from zero."""

from userip.reporting.axes import Scale, extent
from userip.reporting.blocks import Bars, BarSeries
from userip.reporting.drawing import (
    COLOURS,
    WIDTH,
    finite,
    hues,
    label,
    legend,
    line,
    sheet,
    text_width,
    vertical_axis,
)
from userip.reporting.markup import Markup, element, join, px
from userip.reporting.numbers import write_interval, write_number

LEFT, HEIGHT = 70.0, 230.0


def draw_bars(block: Bars, key: str) -> Markup:
    """The bars as an SVG element; `key` makes its ids unlike those of other drawings."""
    names, top = legend(block.series, LEFT, 34, WIDTH) if block.series[1:] else ("", 34.0)
    values = [value for series in block.series for value in (*series.values, *series.low, *series.high)]
    low, high = _from_zero(values)
    up = Scale(low, high, top + HEIGHT, top)
    slot = (WIDTH - LEFT) / max(1, len(block.labels))
    written, bottom = _labels(block.labels, slot, top + HEIGHT + 6)
    about = f"{block.y_label} by {block.x_label}: " + "; ".join(
        f"{name} {write_number(value, block.kind)}"
        for series in block.series
        for name, value in list(zip(block.labels, series.values, strict=True))[:24]
    )
    return sheet(
        key,
        bottom + 26,
        block.title,
        about,
        names,
        vertical_axis(up, LEFT, WIDTH, block.kind),
        label(block.y_label, 0, 10, class_="axis"),
        *(_bars(block, series, number, slot, up) for number, series in enumerate(block.series)),
        line(LEFT, up(0), WIDTH, up(0), "zero"),
        written,
        label(block.x_label, (LEFT + WIDTH) / 2, bottom + 10, anchor="middle", class_="axis"),
    )


def _from_zero(values: list[float]) -> tuple[float, float]:
    low, high = extent([*values, 0.0], 0.08)
    known = [value for value in values if finite(value)]
    low = 0.0 if all(value >= 0 for value in known) else low
    return low, 0.0 if known and all(value <= 0 for value in known) and min(known) < 0 else high


def _bars(block: Bars, series: BarSeries, number: int, slot: float, up: Scale) -> Markup:
    width = min(44.0, slot * 0.78 / len(block.series))
    roomy = width >= 30 and not len(series.low)
    parts = []
    for place, (name, value) in enumerate(zip(block.labels, series.values, strict=True)):
        if not finite(value):
            continue
        middle = LEFT + slot * (place + 0.5) + width * (number - (len(block.series) - 1) / 2)
        interval = ""
        bar = element(
            "rect",
            x=middle - width * 0.46,
            y=min(up(value), up(0)),
            width=width * 0.92,
            height=abs(up(value) - up(0)),
            class_=f"bar c{hues(block.series)[number] % COLOURS}",
        )
        over = Markup("")
        if len(series.low) and finite(series.low[place], series.high[place]):
            interval = " " + write_interval(series.low[place], series.high[place], block.kind)
            over = line(middle, up(series.low[place]), middle, up(series.high[place]), "error")
        elif roomy:
            over = label(
                write_number(value, block.kind),
                middle,
                up(value) + (9 if value < 0 else -9),
                anchor="middle",
                class_="tick",
            )
        tip = element("title", f"{series.name} {name}: {write_number(value, block.kind)}{interval}".strip())
        parts.append(element("g", tip, bar, over))
    return join(*parts)


def _labels(labels: tuple[str, ...], slot: float, y: float) -> tuple[Markup, float]:
    """The labels under their bars: lying where they fit, else every n-th or, for words, slanting; and the y below."""
    widest = max((text_width(text) for text in labels), default=0)
    every = 1
    if widest + 6 > slot and widest > 34 and slot >= 16:
        parts = [
            element(
                "text",
                text if text_width(text) < 110 else text[:14] + "…",
                transform=f"translate({px(LEFT + slot * (place + 0.5) + 4)} {px(y + 8)}) rotate(-35)",
                text_anchor="end",
                class_="tick",
            )
            for place, text in enumerate(labels)
        ]
        return join(*parts), y + 16 + min(widest, 110) * 0.62
    while widest + 6 > slot * every:
        every += 1
    shown = [
        label(labels[i], LEFT + slot * (i + 0.5), y + 8, anchor="middle", class_="tick")
        for i in range(0, len(labels), every)
    ]
    return join(*shown), y + 20
