"""Banks of ten thousand to ten million users, and releases of a million items."""

from collections.abc import Sequence
from typing import Any

from userip.loadtests.report.cells import spread
from userip.loadtests.report.rows import ReleaseRow, ScaleRow
from userip.loadtests.report.wording import REPEATS, look
from userip.reporting.blocks import Block, Cell, Column, Lines, Section, Series, Table
from userip.reporting.numbers import write_number

Figures = Sequence[tuple[Column, str]]

BANKS = (
    (Column("slots", "count"), "slots"),
    (Column("bytes/user", "number"), "bytes_per_user"),
    (Column("users/s", "count"), "publish_per_s"),
    (Column("p50, µs", "number"), "p50_us"),
    (Column("p99, µs", "number"), "p99_us"),
    (Column("MiB", "count"), "publisher_mb"),
)
PUBLISHED = "Users/s are published; p50 and p99 are of a lookup; MiB is what the publisher took beyond its input."
RELEASES = (
    (Column("files, MiB", "count"), "files_mb"),
    (Column("load, s", "number"), "load_s"),
    (Column("worker, MiB", "count"), "rss_mb_1"),
    (Column("two, MiB", "count"), "rss_mb_2"),
    (Column("shared once", "count"), "pss_mb_2"),
    (Column("p50, µs", "number"), "p50_us"),
)
LOADED = "MiB are resident in one worker and in two, then what the two share counted once; p50 is of a request."


def scale(banks: Sequence[ScaleRow], releases: Sequence[ReleaseRow]) -> list[Section]:
    """What a user costs, whether a lookup gets slower with the number of users, and what a large release costs."""
    blocks: list[Block] = [_lookups(banks)] if any(row.p50_us for row in banks) else []
    if banks:
        blocks.append(_table("Banks by number of users", banks, ("bank", "users", "slots"), BANKS, PUBLISHED))
    if releases:
        blocks.append(_table("Releases by size", releases, ("users", "items"), RELEASES, LOADED))
    return [Section("Scale", "", _answer(banks), None, tuple(blocks))] if blocks else []


def _table(
    title: str, rows: Sequence[ScaleRow | ReleaseRow], keys: Sequence[str], figures: Figures, note: str
) -> Table:
    """A line for all rows with the same keys, a column for each figure that any row has."""
    groups: dict[tuple[Any, ...], list[ScaleRow | ReleaseRow]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, key) for key in keys), []).append(row)
    known = [(column, name) for column, name in figures if any(getattr(row, name) is not None for row in rows)]
    named = [key for key in keys if key not in dict(figures).values()]
    lines: list[tuple[Cell, ...]] = []
    for key in sorted(groups, key=lambda key: tuple((part is not None, part or 0) for part in key)):
        first = [getattr(groups[key][0], name) for name in named]
        same = [[value for row in groups[key] if (value := getattr(row, name)) is not None] for _, name in known]
        lines.append(
            (*first, *(spread(values) if len(set(values)) > 1 else next(iter(values), None) for values in same))
        )
    columns = [Column(name, "text" if name == "bank" else "count") for name in named]
    return Table(title, (*columns, *(column for column, _ in known)), tuple(lines), f"{REPEATS} {note}")


def _answer(rows: Sequence[ScaleRow]) -> str:
    """How much slower a lookup in the largest bank is than in the smallest, for each bank."""
    told = []
    for bank in sorted({row.bank for row in rows}):
        at = _medians(rows, bank)
        if len(at) > 1:
            least, most = min(at), max(at)
            factor = write_number(at[most] / at[least], "ratio")
            told.append(f"{bank}: a lookup among {most:,} users takes {factor} as long as among {least:,}")
    return f"{'; '.join(told)}." if told else ""


def _medians(rows: Sequence[ScaleRow], bank: str) -> dict[int, float]:
    """Median lookup in microseconds by users, at the number of slots that was measured at the most sizes."""
    mine = [row for row in rows if row.bank == bank and row.p50_us]
    by_slots: dict[int, dict[int, list[float]]] = {}
    for row in mine:
        by_slots.setdefault(row.slots or 0, {}).setdefault(row.users, []).append(row.p50_us or 0)
    best = max(by_slots.values(), key=len, default={})
    return {users: found.mean for users in sorted(best) if (found := spread(best[users]))}


def _lookups(rows: Sequence[ScaleRow]) -> Lines:
    banks = sorted({row.bank for row in rows})
    series = []
    for bank in banks:
        at = _medians(rows, bank)
        series.append(Series(bank, list(at), list(at.values()), hue=look(bank, banks).hue))
    return Lines(
        "Median lookup by users in the bank", "users", "microseconds", tuple(series), log_x=True, kind="number",
        log_y=True, note="Random users, through the service's own reader; banks of all sizes were asked in turns.",
    )  # fmt: skip
