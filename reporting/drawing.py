"""What all the drawings share: the sheet with its description, texts, grids, marks, and the width of a text."""

import math
from collections.abc import Sequence

from userip.reporting.axes import Scale, log_ticks, tick_step, ticks
from userip.reporting.blocks import BarSeries, Kind, Series
from userip.reporting.markup import Markup, element, join, px
from userip.reporting.numbers import write_round, write_tick

WIDTH = 720.0
FONT = 13.0
COLOURS = 8
# Circle, square, triangle, diamond, triangle downwards, each around 0, 0.
_SHAPES = (
    "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0z",
    "M-3.8-3.8h7.6v7.6h-7.6z",
    "M0-5.2L5 4H-5z",
    "M0-5.6L5.6 0 0 5.6-5.6 0z",
    "M0 5.2L5-4H-5z",
)


def sheet(key: str, height: float, title: str, about: str, *parts: str, width: float = WIDTH) -> Markup:
    """A drawing of [width, height] pixels that a screen reader names by `title` and describes by `about`."""
    return element(
        "svg",
        element("title", title, id=f"{key}-title"),
        element("desc", about, id=f"{key}-desc"),
        *parts,
        viewBox=f"0 0 {px(width)} {px(height)}",
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
    )


def label(
    text: str, x: float, y: float, *, anchor: str = "start", class_: str | None = None, room: float = 0
) -> Markup:
    """A text with its middle line at y; if it is longer than `room` pixels, it is cut and its tooltip is the whole."""
    shown = fitted(text, room) if room else text
    tip = element("title", text) if shown != text else Markup("")
    where = {"text-anchor": anchor if anchor != "start" else None, "class_": class_}
    return element("text", shown, tip, x=x, y=y + FONT * 0.34, **where)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("path", d=f"M{px(x1)} {px(y1)}L{px(x2)} {px(y2)}", class_=class_)


def text_width(text: str) -> float:
    """About how many pixels a text takes; rather too many, since every reader's font is another one."""
    return sum(
        FONT
        * (0.95 if ord(letter) > 0x2E80 else 0.34 if letter in "iljtf.,:;|!' " else 0.72 if letter.isupper() else 0.61)
        for letter in text
    )


def fitted(text: str, room: float) -> str:
    """`text`, cut with an ellipsis where it is longer than `room` pixels."""
    if text_width(text) <= room:
        return text
    while text and text_width(text) + FONT > room:
        text = text[:-1]
    return text.rstrip() + "…"


def vertical_axis(scale: Scale, left: float, right: float, kind: Kind) -> Markup:
    """Horizontal grid lines over [left, right], with their numbers to the left."""
    step = tick_step(scale.low, scale.high)
    places = (log_ticks if scale.log else ticks)(scale.low, scale.high)
    texts = [write_round(tick, kind) if scale.log else write_tick(tick, step, kind) for tick in places]
    return join(
        *(
            join(
                line(left, scale(tick), right, scale(tick), "zero" if tick == 0 else "grid"),
                label(text, left - 8, scale(tick), anchor="end", class_="tick"),
            )
            for tick, text in zip(places, texts, strict=True)
        )
    )


def hues(series: Sequence[Series | BarSeries]) -> list[int]:
    """The number of colour and mark of each: its own, else its place."""
    return [place if one.hue is None else one.hue for place, one in enumerate(series)]


def legend(series: Sequence[BarSeries], left: float, y: float, right: float) -> tuple[Markup, float]:
    """Marks with their names, in as many lines as they take; and the y below them."""
    parts, x = [], left
    for number, name in zip(hues(series), (one.name for one in series), strict=True):
        room = 22 + min(text_width(name), 260) + 14
        if x > left and x + room > right:
            x, y = left, y + 20
        parts += [mark(number, x + 6, y), label(name, x + 18, y, room=260)]
        x += room
    return join(*parts), y + 20


def mark(number: int, x: float, y: float, tip: str = "") -> Markup:
    """The mark of series `number`: a colour and a shape of its own, since not everybody tells colours apart."""
    shape = _SHAPES[number % len(_SHAPES)]
    drawn = element("path", d=shape, transform=f"translate({px(x)} {px(y)})", class_=f"c{number % COLOURS}")
    return element("g", element("title", tip), drawn) if tip else drawn


def finite(*values: float) -> bool:
    """Whether all of these can stand at an axis."""
    return all(math.isfinite(value) for value in values)
