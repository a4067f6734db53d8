"""Banks of ten thousand to ten million users."""

from collections.abc import Sequence

from loadtests.report.cells import spread
from loadtests.report.rows import ScaleRow
from loadtests.report.wording import REPEATS, look
from training.report.blocks import Cell, Column, Lines, Section, Series, Table
from training.report.numbers import write_number

NOTE = f"{REPEATS} Users/s are published; p50 and p99 are of a lookup; MiB is the most that the publisher took."
FIGURES = (
    (Column("bytes/user", "number"), "bytes_per_user"),
    (Column("users/s", "count"), "publish_per_s"),
    (Column("p50, µs", "number"), "p50_us"),
    (Column("p99, µs", "number"), "p99_us"),
    (Column("MiB", "count"), "peak_rss_mb"),
)


def scale(rows: Sequence[ScaleRow]) -> list[Section]:
    """What a user costs, and whether a lookup gets slower with the number of users."""
    if not rows:
        return []
    known = [(column, name) for column, name in FIGURES if any(getattr(row, name) is not None for row in rows)]
    slots = len({row.slots for row in rows}) > 1
    lines: list[tuple[Cell, ...]] = []
    for bank, users, width in sorted({(row.bank, row.users, row.slots) for row in rows}, key=_order):
        same = [row for row in rows if (row.bank, row.users, row.slots) == (bank, users, width)]
        figures = [spread([value for row in same if (value := getattr(row, name)) is not None]) for _, name in known]
        lines.append((bank, float(users), *([width] if slots else []), *figures))
    columns = (Column("bank"), Column("users", "count"), *([Column("slots", "count")] if slots else []))
    table = Table("Banks by number of users", (*columns, *(column for column, _ in known)), tuple(lines), NOTE)
    curves = [_lookups(rows)] if any(row.p50_us for row in rows) else []
    return [Section("Scale", "", _answer(rows), None, (*curves, table))]


def _order(key: tuple[str, int, int | None]) -> tuple[str, int, int]:
    return (key[0], key[1], key[2] or 0)


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
