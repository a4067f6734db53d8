"""How numbers are written, the same in tables, plots and Markdown."""

import math
from collections.abc import Callable

from userip.reporting.blocks import SIGNS, Cell, Estimate, Judged, Kind

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
NBSP = "\N{NO-BREAK SPACE}"
# Units that an interval leaves to its mean; that of seconds changes with their size.
_UNITS: dict[Kind, str] = {"percent": f"{NBSP}%", "change": f"{NBSP}%", "milliseconds": f"{NBSP}ms", "ratio": TIMES}


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
    if isinstance(cell, Judged):
        return f"{SIGNS[cell.verdict]} {cell.text}"
    if not isinstance(cell, Estimate):
        return write_number(cell, kind)
    if is_missing(cell.low) and is_missing(cell.high):
        return write_number(cell.mean, kind)
    return f"{write_number(cell.mean, kind)} {write_interval(cell.low, cell.high, kind)}"


def write_interval(low: float, high: float, kind: Kind) -> str:
    """An interval to stand behind its mean, which has the unit."""
    ends = [write_number(end, kind).removesuffix(_UNITS.get(kind, "")) for end in (low, high)]
    return f"[{ends[0]},{NBSP}{ends[1]}]"


def write_tick(value: float, step: float, kind: Kind) -> str:
    """A number at an axis whose ticks are `step` apart: no more decimals than needed to tell them apart."""
    percent = kind in ("percent", "change")
    value, step = (100 * value, 100 * step) if percent else (value, step)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:,.{decimals}f}" if decimals <= 6 else f"{value:.3g}"
    text = text if float(text.replace(",", "")) else "0"
    sign = "+" if kind in ("difference", "change") and value > 0 and text != "0" else ""
    return sign + text.replace("-", MINUS) + (f"{NBSP}s" if kind == "seconds" else _UNITS.get(kind, ""))


def write_round(value: float, kind: Kind) -> str:
    """A round number at a logarithmic axis, as short as it is."""
    return write_number(value, "number") + (f"{NBSP}s" if kind == "seconds" else _UNITS.get(kind, ""))


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
