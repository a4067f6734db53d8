"""Draws the plots of a report as SVG elements, by matplotlib.

The drawings stand in the page itself. Every colour is a variable of the page's style sheet, so that a plot follows the
reader's light or dark mode. The same block gives the same bytes.
"""

import math
import re
import warnings
from collections import Counter
from io import StringIO
from itertools import pairwise
from statistics import median
from typing import Any, Final
from xml.etree import ElementTree as ET

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import LogLocator, MaxNLocator

from userip.reporting.blocks import CodeMap, Intervals, Kind, Lines, Plot
from userip.reporting.numbers import plain, write_interval, write_number, write_tick
from userip.reporting.tables import code_name, grouped, row_standing

HUES: Final = 8
DRAWN: Final = 3000
WIDTH, HEIGHT = 720, 360
MARKS: Final = "osD^v"  # a shape beside the colour, since not everybody tells colours apart
STANDINGS: Final = {"better": ("yes", "o"), "worse": ("no", "s"), "undecided": ("soft", "o")}
# matplotlib knows colours by their number; the place in this list stands for the variable of the style sheet.
_VARIABLES: Final = ("page", "line", "ink", "soft", "yes", "no", *(f"hue{number}" for number in range(HUES)))


def _colour(name: str) -> str:
    return f"#{_VARIABLES.index(name) + 1:06x}"


_STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none", "text.parse_math": False, "path.simplify": False,
    "font.sans-serif": ["DejaVu Sans"], "font.size": 13, "text.color": _colour("ink"),
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
    "axes.edgecolor": _colour("soft"), "axes.labelcolor": _colour("soft"), "axes.labelsize": 13, "axes.labelpad": 7,
    "axes.axisbelow": True,
    "axes.titlecolor": _colour("soft"), "axes.titlesize": 13, "axes.titlelocation": "left", "axes.titlepad": 14,
    "axes.xmargin": 0.04, "axes.ymargin": 0.08,
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": _colour("line"), "grid.linewidth": 1,
    "xtick.color": _colour("soft"), "ytick.color": _colour("soft"), "xtick.labelsize": 12, "ytick.labelsize": 12,
    "ytick.major.size": 0, "lines.linewidth": 2.2, "lines.markersize": 7, "legend.frameon": False,
}  # fmt: skip


def draw(block: Plot, key: str) -> str:
    """The plot as an SVG element for an HTML page; `key` makes its ids unlike those of other drawings."""
    with style.context(["default", _STYLE | {"svg.hashsalt": key}]), warnings.catch_warnings():
        # The reader's browser has the letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), layout="constrained")
        axes = figure.add_subplot()
        match block:
            case Intervals():
                figure.set_size_inches(WIDTH / 72, _draw_intervals(axes, block) / 72)
            case Lines():
                _draw_lines(axes, block)
            case CodeMap():
                _draw_codemap(axes, block)
        file = StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue(), block.title)


def _inline(svg: str, title: str) -> str:
    """An SVG file as an element of a page: no name spaces, ids only where something refers to them, short numbers."""
    drawing = ET.fromstring(svg)  # noqa: S314  (matplotlib's own)
    for part in list(drawing.iter()):
        for child in [child for child in part if child.tag.endswith(("}metadata", "}style"))]:
            part.remove(child)
        part.tag = part.tag.rpartition("}")[2]
        attributes = {name.rpartition("}")[2]: value for name, value in part.attrib.items()}
        if part.tag == "g" and attributes.pop("id", "") == "halo":
            attributes["class"] = "halo"
        for name in {"d", "transform", "x", "y", "width", "height"} & set(attributes):
            short = re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.2f}", attributes[name])
            attributes[name] = re.sub(r"M (\S+ \S+) L \1(?= |$)", r"M \1h0", " ".join(short.split()))
        if "style" in attributes:
            attributes["style"] = re.sub(r"#0000[0-9a-f]{2}\b", _variable, attributes["style"])
        part.text, part.tail = part.text if part.tag == "text" else None, None
        part.attrib.clear()
        part.attrib.update(attributes)
    drawing.attrib = {"viewBox": drawing.attrib["viewBox"], "role": "img"}
    named = ET.Element("title")
    named.text = plain(title)
    drawing.insert(0, named)
    return ET.tostring(drawing, encoding="unicode")


def _variable(found: re.Match[str]) -> str:
    return f"var(--{_VARIABLES[int(found[0][1:], 16) - 1]})"


def _draw_intervals(axes: Axes, block: Intervals) -> float:
    """A row per estimate, its mean a point, its interval a bar, its name to the left, its numbers to the right.

    Returns the height that this takes, in pixels.
    """
    places: list[tuple[int, str, str]] = []
    line = 0
    for group, rows in grouped(block.rows):
        if group:
            text = _short(group, 60)
            axes.text(0, line, text, transform=axes.get_yaxis_transform(), va="center", weight=700, gid="halo")
            line += 1
        for row in rows:
            interval = write_interval(row.low, row.high, block.kind)
            places.append((line, _short(row.name, 46), f"{write_number(row.mean, block.kind)} {interval}"))
            name, mark = STANDINGS[row_standing(row, block)]
            axes.plot([row.low, row.high], [line] * 2, color=_colour(name), lw=6, alpha=0.38, solid_capstyle="round")
            face = _colour("page") if name == "soft" else _colour(name)
            axes.plot([row.mean], [line], mark, color=_colour(name), markerfacecolor=face, markeredgewidth=2)
            line += 1
    for reference in block.references:
        axes.axvline(reference.value, color=_colour("soft"), lw=1.2, dashes=(4, 4), zorder=1)
    low, high = axes.get_xlim()
    for number, reference in enumerate(block.references):
        side, shift = ("right", -4) if reference.value > (low + high) / 2 else ("left", 4)
        axes.annotate(
            _short(reference.name, 30), (reference.value, 1), (shift, 2 + 16 * number),
            xycoords=axes.get_xaxis_transform(), textcoords="offset points", ha=side, size=12, color=_colour("soft"),
        )  # fmt: skip
    axes.set_ylim(max(line, 1) - 0.4, -0.6)
    axes.set_yticks([place for place, _, _ in places], [name for _, name, _ in places], color=_colour("ink"), size=13)
    numbers = axes.secondary_yaxis("right")
    numbers.set_yticks([place for place, _, _ in places], [text for _, _, text in places], color=_colour("ink"))
    numbers.spines["right"].set_visible(False)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", length=0)
    _ticks(axes.xaxis, block.kind)
    axes.set_xlabel(_short(block.axis))
    return 26 * max(line, 1) + 16 * len(block.references) + 56


def _draw_lines(axes: Axes, block: Lines) -> None:
    """Curves with bands, each named at its end."""
    names = list(dict.fromkeys(x for series in block.series for x in series.x if isinstance(x, str)))
    ends: list[tuple[str, float, float, int | None]] = []
    met: set[float] = set()
    for place, series in enumerate(block.series):
        hue = (place if series.hue is None else series.hue) % HUES
        xs = [float(names.index(x)) if isinstance(x, str) else x for x in series.x]
        order = sorted(range(len(xs)), key=lambda i: xs[i])
        x, y = [xs[i] for i in order], [series.y[i] for i in order]
        met.update(xs)
        axes.plot(x, y, color=_colour(f"hue{hue}"), marker=MARKS[hue % len(MARKS)], ls="-" if place < HUES else "--")
        if len(series.low):
            under, over = [series.low[i] for i in order], [series.high[i] for i in order]
            axes.fill_between(x, under, over, color=_colour(f"hue{hue}"), alpha=0.14, lw=0)
            axes.vlines(x, under, over, color=_colour(f"hue{hue}"), alpha=0.3, lw=2)
        known = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b)]
        ends += [(series.name, *known[-1], hue)] if known else []
    for reference in block.references:
        axes.axhline(reference.value, color=_colour("soft"), lw=1.2, dashes=(4, 4), zorder=1)
    axes.set_xscale("log" if block.log_x else "linear")
    axes.set_yscale("log" if block.log_y else "linear")
    axes.autoscale_view()
    ends += [(reference.name, axes.get_xlim()[1], reference.value, None) for reference in block.references]
    _ticks(axes.yaxis, block.kind)
    _ticks(axes.xaxis, "number")
    if names:
        axes.set_xticks(range(len(names)), [_short(name, 20) for name in names])
    elif met and len(met) <= 12 and (block.log_x or all(x == round(x) for x in met)):
        axes.set_xticks(sorted(met), [write_number(x, "number") for x in sorted(met)])  # the sizes that were tried
    axes.set_xlabel(_short(block.x_label))
    axes.set_title(_short(block.y_label))
    _name_ends(axes, ends)


def _name_ends(axes: Axes, ends: list[tuple[str, float, float, int | None]]) -> None:
    """The name of every curve and reference to the right, moved apart, a thin line from its end to its name."""
    beside: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    place = -1.0
    for name, x, y, hue in sorted(ends, key=lambda end: end[2]):
        start = _fraction(axes, x, y)
        place = max(start[1], place + 0.065)
        axes.plot([start[0] + 0.015, 1.03], [start[1], place], color=_colour("line"), lw=1, zorder=1, **beside)
        if hue is not None:
            axes.plot([1.045], [place], MARKS[hue % len(MARKS)], color=_colour(f"hue{hue}"), **beside)
        ink = _colour("soft" if hue is None else "ink")
        axes.text(1.065, place, _short(name, 28), va="center", size=12, color=ink, transform=axes.transAxes)


def _fraction(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """How far along both axes a point stands, from 0 to 1."""
    across, up = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))
    return float(across), float(up)


def _draw_codemap(axes: Axes, block: CodeMap) -> None:
    """A dot per user, one path per code, so that thousands stay a small file; the largest code lies below."""
    users = Counter(block.codes)
    ranks = sorted(users, key=lambda code: (-users[code], code))
    clouds: dict[int, list[tuple[float, float]]] = {}
    for i in range(0, len(block.codes), drawn_of(block)):
        if math.isfinite(block.x[i]) and math.isfinite(block.y[i]):
            clouds.setdefault(block.codes[i], []).append((block.x[i], block.y[i]))
    for rank, code in enumerate(ranks):
        colour, share = _colour(f"hue{rank % HUES}"), write_number(users[code] / len(block.codes), "percent")
        if code in clouds:
            # A line from a point to itself, with round ends.
            points = [point for point in clouds[code] for _ in range(2)]
            path = Path(points, [Path.MOVETO, Path.LINETO] * len(clouds[code]))
            axes.add_patch(PathPatch(path, fill=False, ec=colour, lw=4, alpha=0.55, capstyle="round"))
            x, y = (median(point[axis] for point in clouds[code]) for axis in (0, 1))
            axes.text(x, y, str(code), ha="center", va="center", weight=700, gid="halo", zorder=5)
        if rank < 18:
            axes.plot([], [], "o", color=colour, label=f"{_short(code_name(block, code), 22)}  {share}")
    axes.autoscale_view()
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set(visible=True, color=_colour("line"))
    if ranks:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=12)


def drawn_of(block: CodeMap) -> int:
    """One in how many users of a map is drawn."""
    return max(1, math.ceil(len(block.codes) / DRAWN))


def _ticks(axis: Axis, kind: Kind) -> None:
    """Some five round numbers; at a logarithmic axis powers of ten, and as many of their multiples as it takes."""
    low, high = axis.get_view_interval()
    log = axis.get_scale() == "log"
    if log:
        decades = math.log10(high / low)
        digits = (1.0,) if decades > 4 else (1.0, 3.0) if decades > 2 else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(subs=digits))
    else:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    places = [float(place) for place in axis.get_majorticklocs() if low <= place <= high]
    step = None if log else next((after - before for before, after in pairwise(places)), 1.0)
    axis.set_ticks(places, [write_tick(place, step, kind) for place in places])
    axis.set_ticks([], minor=True)


def _short(text: str, length: int = 90) -> str:
    """`text` on one line, cut with an ellipsis where it is longer."""
    flat = " ".join(plain(text).split())
    return flat if len(flat) <= length else flat[: length - 1].rstrip() + "…"
