"""How numbers and texts are written, the same in tables, plots and Markdown."""

import math
import re
from collections.abc import Callable

from userip.reporting.blocks import SIGNS, Cell, Estimate, Kind, Verdict

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
NBSP = "\N{NO-BREAK SPACE}"
# Units that an interval leaves to its mean; that of seconds changes with their size.
_UNITS: dict[Kind, str] = {"percent": f"{NBSP}%", "change": f"{NBSP}%", "milliseconds": f"{NBSP}ms", "ratio": TIMES}
# Neither XML nor UTF-8 can hold these, but titles of a data set can.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def plain(text: str) -> str:
    """`text` with each character that no document can hold replaced by the replacement character."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def is_missing(value: float | None) -> bool:
    """Whether there is no value: None or NaN."""
    return value is None or math.isnan(value)


def write_number(value: float | None, kind: Kind) -> str:
    """`value` as its kind is written (see `Kind`); an en dash for None and NaN."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    return _WRITERS[kind](value).replace("-", MINUS)


def write_cell(cell: Cell, kind: Kind) -> str:
    """A cell of a table: text as it is, a number as its kind is written, an estimate with its interval."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Verdict):
        return f"{SIGNS[cell.outcome]} {cell.text}"
    if not isinstance(cell, Estimate):
        return write_number(cell, kind)
    return f"{write_number(cell.mean, kind)} {write_interval(cell.low, cell.high, kind)}".rstrip(" ")


def write_interval(low: float, high: float, kind: Kind) -> str:
    """An interval to follow its mean, which has the unit; empty for an unknown one."""
    if is_missing(low) and is_missing(high):
        return ""
    ends = [write_number(end, kind).removesuffix(_UNITS.get(kind, "")) for end in (low, high)]
    return f"[{ends[0]},{NBSP}{ends[1]}]"


def write_tick(value: float, step: float | None, kind: Kind) -> str:
    """A number at an axis: no more decimals than tell ticks apart that are `step` apart (None: a logarithmic axis)."""
    unit = f"{NBSP}s" if kind == "seconds" else _UNITS.get(kind, "")
    if step is None:
        return write_number(value, "number") + unit
    scale = 100 if kind in ("percent", "change") else 1
    decimals = max(0, -math.floor(math.log10(scale * step) + 1e-9))
    text = f"{scale * value:,.{decimals}f}" if decimals <= 6 else f"{scale * value:.3g}"
    text = text if float(text.replace(",", "")) else "0"
    sign = "+" if kind in ("difference", "change") and value > 0 and text != "0" else ""
    return sign + text.replace("-", MINUS) + unit


def _signed(value: float, decimals: int) -> str:
    text = f"{value:+.{decimals}f}"
    return text if float(text) else text[1:]


def _number(value: float) -> str:
    text = f"{value:.3g}"
    return f"{value:,.0f}" if "e+" in text and abs(value) < 1e15 else text


def _digits(value: float) -> str:
    """Three significant digits, zeros at the end too, for columns of like numbers."""
    return f"{value:#.3g}".rstrip(".") if 1e-4 <= abs(value) < 1000 else _number(value)


def _seconds(value: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if abs(value) >= 2 * length:
            return f"{value / length:.1f}{NBSP}{unit}"
    return f"{value:.3g}{NBSP}s"


_WRITERS: dict[Kind, Callable[[float], str]] = {
    "text": _number,
    "metric": lambda value: f"{value:.4f}",
    "difference": lambda value: _signed(value, 4),
    "percent": lambda value: f"{100 * value:.1f}{NBSP}%",
    "change": lambda value: f"{_signed(100 * value, 2)}{NBSP}%",
    "count": lambda value: f"{value:,.0f}",
    "number": _number,
    "seconds": _seconds,
    "milliseconds": lambda value: f"{_digits(value)}{NBSP}ms",
    "ratio": lambda value: (f"{value:.2f}" if abs(value) < 10 else _number(value)) + TIMES,
}
