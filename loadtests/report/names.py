"""Names and colours: a variant is called and coloured alike in every table and plot."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from userip.loadtests.report.rows import LoadRow
from userip.reporting.numbers import write_number


class Look(NamedTuple):
    """How a variant is called, and the number of its colour and mark."""

    name: str
    hue: int


LOOKS: Final = {
    "userip": Look("UserIP", 0),
    "dcn": Look("DCN", 3),
    "kar-prestored": Look("KAR prestored", 4),
    "kar-online": Look("KAR online", 1),
    "echo": Look("echo", 7),
    "bare-onnx": Look("bare ONNX Runtime", 6),
}
# For variants, banks or whatever else comes along.
_OTHERS: Final = (2, 5)
OURS: Final = "userip"

REPEATS: Final = "Medians over the repeats, with [least, greatest]."
RATIOS: Final = f"{REPEATS} Ratios are taken within each repeat first."


def look(variant: str, others: Sequence[str] = ()) -> Look:
    """Name and colour of a variant; `others`: all that are in the plot, to tell unknown ones apart."""
    unknown = [name for name in dict.fromkeys(others) if name not in LOOKS]
    place = unknown.index(variant) if variant in unknown else 0
    return LOOKS.get(variant) or Look(variant, _OTHERS[place % len(_OTHERS)])


def order(variant: str) -> tuple[int, str]:
    """To sort by: the variants as they stand in `LOOKS`, then any other by name."""
    return (list(LOOKS).index(variant) if variant in LOOKS else len(LOOKS), variant)


def setting(row: LoadRow, *without: str) -> str:
    """The load in words, but for what is named: "/score, 100 candidates, 32 connections, 1 worker, warm cache"."""
    parts = {
        "route": row.route,
        "batch": f"{row.batch:,} at once" if row.batch > 1 else "",
        "candidates": "" if row.route == "/profile" else _many(row.candidates, "candidate"),
        "rate": "closed loop" if row.rate is None else f"{write_number(row.rate, 'number')} requests/s",
        "connections": _many(row.connections, "connection"),
        "workers": _many(row.workers, "worker"),
        "cache": "cache off" if row.cache == "off" else f"{row.cache} cache",
        "generator": f"{row.generator} generator",
    }
    return ", ".join(text for name, text in parts.items() if text and name not in without)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
