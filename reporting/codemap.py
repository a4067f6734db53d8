"""Draws a `CodeMap`: a point per user, one path per code, so that thousands of points stay a small file."""

import math
from collections import Counter
from statistics import median

from userip.reporting.axes import extent
from userip.reporting.blocks import CodeMap
from userip.reporting.drawing import COLOURS, WIDTH, label, sheet
from userip.reporting.markup import Markup, element, join
from userip.reporting.numbers import write_number

DRAWN = 6000
SIDE, HEIGHT = 480.0, 440.0
NAMED = 18
Point = tuple[float, float]


def draw_codemap(block: CodeMap, key: str) -> Markup:
    """The map as an SVG element; `key` makes its ids unlike those of other drawings."""
    points = _points(block)
    users = Counter(block.codes)
    ranks = {code: rank for rank, (code, _) in enumerate(sorted(users.items(), key=lambda item: (-item[1], item[0])))}
    # The largest code lies below the others.
    clouds = [_cloud(points[code], ranks[code]) for code in ranks if code in points]
    names = [
        label(str(code), median(x for x, _ in cloud), median(y for _, y in cloud), anchor="middle", class_="halo")
        for code, cloud in ((code, points[code]) for code in reversed(list(ranks)) if code in points)
    ]
    about = f"{len(block.codes)} users in {len(users)} codes: " + ", ".join(
        f"{code_name(block, code)} {users[code]}" for code in list(ranks)[:NAMED]
    )
    frame = element("rect", x=0.5, y=0.5, width=SIDE - 1, height=HEIGHT - 1, rx=6, class_="frame")
    return sheet(key, HEIGHT, block.title, about, frame, *clouds, *names, _legend(block, users, ranks))


def code_name(block: CodeMap, code: int) -> str:
    """The number of a code and, where it has one, its name."""
    return f"{code} {block.names[code]}" if code < len(block.names) and block.names[code] else str(code)


def how_many_drawn(block: CodeMap) -> str:
    """What the caption says where not every user is drawn; else nothing."""
    every = _every(block)
    return f"One in {every} of the {len(block.codes):,} users is drawn." if every > 1 else ""


def _every(block: CodeMap) -> int:
    return max(1, math.ceil(len(block.codes) / DRAWN))


def _points(block: CodeMap) -> dict[int, list[Point]]:
    """Pixels of the users drawn, by code. Both axes have the same unit, so that distances are distances."""
    chosen = range(0, len(block.codes), _every(block))
    known = [i for i in chosen if math.isfinite(block.x[i]) and math.isfinite(block.y[i])]
    (left, right), (low, high) = extent(block.x[i] for i in known), extent(block.y[i] for i in known)
    unit = min(SIDE / (right - left), HEIGHT / (high - low))
    points: dict[int, list[Point]] = {}
    for i in known:
        x = SIDE / 2 + unit * (block.x[i] - (left + right) / 2)
        y = HEIGHT / 2 - unit * (block.y[i] - (low + high) / 2)
        points.setdefault(block.codes[i], []).append((x, y))
    return points


def _cloud(points: list[Point], rank: int) -> Markup:
    """All points of a code in one path of round dots; two on the same pixel are one."""
    pixels = sorted({(round(x), round(y)) for x, y in points})
    return element("path", d="".join(f"M{x} {y}h0" for x, y in pixels), class_=f"dots c{rank % COLOURS}")


def _legend(block: CodeMap, users: Counter[int], ranks: dict[int, int]) -> Markup:
    parts, y = [], 14.0
    shown = list(ranks)[: NAMED if len(ranks) <= NAMED else NAMED - 1]
    for code in shown:
        share = write_number(users[code] / len(block.codes), "percent")
        parts.append(element("circle", cx=SIDE + 22, cy=y, r=5, class_=f"c{ranks[code] % COLOURS}"))
        parts.append(label(code_name(block, code), SIDE + 34, y, room=WIDTH - SIDE - 34 - 56))
        parts.append(label(share, WIDTH, y, anchor="end", class_="value"))
        y += 23.5
    if len(shown) < len(ranks):
        parts.append(label(f"and {len(ranks) - len(shown)} more codes", SIDE + 34, y, class_="tick"))
    return join(*parts)
