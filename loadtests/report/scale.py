"""Banks of ten thousand to ten million users, and releases of a million items."""

from collections.abc import Sequence
from typing import Any

from userip.loadtests.report.cells import Cell, cells_by, spread
from userip.loadtests.report.names import REPEATS
from userip.loadtests.report.rows import ReleaseRow, ScaleRow
from userip.loadtests.report.tables import curves
from userip.reporting import blocks
from userip.reporting.blocks import Block, Column, Section, Table
from userip.reporting.numbers import write_number

Columns = dict[str, Column]  # by the name of the figure
BANKS: Columns = {
    "slots": Column("slots", "count"), "bytes_per_user": Column("bytes/user", "number"),
    "publish_per_s": Column("users/s", "count"), "p50_us": Column("p50, µs", "number"),
    "p99_us": Column("p99, µs", "number"), "publisher_mb": Column("MiB", "count"),
}  # fmt: skip
PUBLISHED = "Users/s are published; p50 and p99 are of a lookup; MiB is what the publisher took beyond its input."
RELEASES: Columns = {
    "files_mb": Column("files, MiB", "count"), "load_s": Column("load, s", "number"),
    "rss_mb_1": Column("worker, MiB", "count"), "rss_mb_2": Column("two, MiB", "count"),
    "pss_mb_2": Column("shared once", "count"), "p50_us": Column("p50, µs", "number"),
}  # fmt: skip
LOADED = "MiB are resident in one worker and in two, then what the two share counted once; p50 is of a request."


def scale(banks: Sequence[ScaleRow], releases: Sequence[ReleaseRow]) -> list[Section]:
    """What a user costs, whether a lookup gets slower with the number of users, and what a large release costs."""
    found: list[Block] = []
    lookups = [cell for bank in sorted({row.bank for row in banks}) for cell in _lookups(banks, bank)]
    if lookups:
        labels = ("users", "microseconds")
        where = "Random users, through the service's own reader; banks of all sizes were asked in turns."
        found.append(curves(lookups, "users", "p50_us", "Median lookup by users in the bank", labels, "number", where))
    if banks:
        found.append(_table("Banks by number of users", banks, ("bank", "users", "slots"), BANKS, PUBLISHED))
    if releases:
        found.append(_table("Releases by size", releases, ("users", "items"), RELEASES, LOADED))
    return [Section("Scale", "", _answer(lookups), None, tuple(found))] if found else []


def _table(
    title: str, rows: Sequence[ScaleRow | ReleaseRow], keys: Sequence[str], figures: Columns, note: str
) -> Table:
    """A line for all rows with the same keys, a column for each figure that any row has."""
    groups: dict[tuple[Any, ...], list[ScaleRow | ReleaseRow]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, key) for key in keys), []).append(row)
    known = {name: column for name, column in figures.items() if any(getattr(row, name) is not None for row in rows)}
    named = [key for key in keys if key not in figures]
    lines: list[tuple[blocks.Cell, ...]] = []
    for key in sorted(groups, key=lambda key: tuple((part is not None, part or 0) for part in key)):
        first = [getattr(groups[key][0], name) for name in named]
        same = [[value for row in groups[key] if (value := getattr(row, name)) is not None] for name in known]
        lines.append((*first, *(spread(values[:1] if len(set(values)) == 1 else values) for values in same)))
    columns = [Column(name, "text" if name == "bank" else "count") for name in named]
    return Table(title, (*columns, *known.values()), tuple(lines), f"{REPEATS} {note}")


def _lookups(rows: Sequence[ScaleRow], bank: str) -> list[Cell[ScaleRow]]:
    """A cell for each number of users, at the number of slots that was measured at the most sizes."""
    mine = [row for row in rows if row.bank == bank and row.p50_us]
    slots = dict.fromkeys(row.slots for row in mine)
    by_slots = [cells_by([row for row in mine if row.slots == one], "users") for one in slots]
    most = max(map(len, by_slots), default=0)
    best = next((cells for cells in by_slots if len(cells) == most), [])
    return sorted(best, key=lambda cell: cell.first.users)


def _answer(lookups: Sequence[Cell[ScaleRow]]) -> str:
    """How much slower a lookup in the largest bank is than in the smallest, for each bank."""
    summary = []
    for bank in dict.fromkeys(cell.first.bank for cell in lookups):
        least, *_, most = [cell for cell in lookups if cell.first.bank == bank] * 2
        if least.first.users < most.first.users:
            factor = write_number(most.middle("p50_us") / least.middle("p50_us"), "ratio")
            sizes = (most.first.users, least.first.users)
            summary.append(f"{bank}: a lookup among {sizes[0]:,} users takes {factor} as long as among {sizes[1]:,}")
    return f"{'; '.join(summary)}." if summary else ""
