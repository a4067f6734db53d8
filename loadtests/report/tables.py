"""Tables of cells, and curves through them, a row and a line for each variant."""

from collections.abc import Callable, Sequence
from typing import Any

from userip.loadtests.report.cells import Cell, Row, by_variant, ratio, spread
from userip.loadtests.report.names import OURS, REPEATS, look, order
from userip.reporting import blocks
from userip.reporting.blocks import Column, Kind, Lines, Reference, Series, Table

# What a column shows of a cell, given the cells of its group by variant.
Value = Callable[[Any, dict[str, Any]], blocks.Cell]


def figure(name: str) -> Value:
    """Median, least and greatest of one figure of a row."""
    return lambda cell, _: cell.over(name)


def total(name: str) -> Value:
    """A count over all repeats."""
    return lambda cell, _: float(cell.total(name))


def against(variant: str, name: str) -> Value:
    """The ratio of a figure to that of another variant of the group."""
    return lambda cell, group: ratio(cell, group.get(variant), name)


THROUGHPUT: tuple[Column, Value] = (Column("requests/s", "count"), figure("throughput"))
LATENCIES: tuple[tuple[Column, Value], ...] = (
    (Column("p50", "milliseconds"), figure("p50_ms")),
    (Column("p95", "milliseconds"), figure("p95_ms")),
    (Column("p99", "milliseconds"), figure("p99_ms")),
)
FAILED: tuple[Column, Value] = (Column("failed", "count"), total("failed"))


def cells_table(
    title: str,
    groups: Sequence[tuple[str, Sequence[Cell[Row]]]],
    columns: Sequence[tuple[Column, Value]],
    note: str = REPEATS,
) -> Table:
    """A heading and its cells, by variant, for each group; UserIP's rows are tinted."""
    rows: list[tuple[blocks.Cell, ...]] = []
    ours = []
    for heading, cells in groups:
        rows += [(heading,)] if heading else []
        known = by_variant(cells)
        for cell in sorted(cells, key=lambda cell: order(cell.first.variant)):
            if cell.first.variant == OURS:
                ours.append(len(rows))
            figures: list[blocks.Cell] = [value(cell, known) for _, value in columns]
            rows.append((look(cell.first.variant).name, *figures))
    return Table(title, (Column("variant"), *(column for column, _ in columns)), tuple(rows), note, tuple(ours))


def curves(
    cells: Sequence[Cell[Row]], by: str, name: str, title: str, labels: tuple[str, str], kind: Kind, note: str,
    references: Sequence[Reference] = (), *, log_x: bool = True,
) -> Lines:  # fmt: skip
    """A line for each variant through the medians of a figure above zero, over what differs; the band: all repeats.

    labels: of the axes, across and up. Of cells of one variant and size, the first counts.
    """
    variants = sorted({cell.first.variant for cell in cells}, key=order)
    series = []
    for variant in variants:
        at = {getattr(cell.first, by): cell.values(name) for cell in reversed(cells) if cell.first.variant == variant}
        points = [(x, found) for x in sorted(at) if (found := spread(at[x])) and min(at[x]) > 0]
        looks = look(variant, variants)
        ends = ([getattr(found, end) for _, found in points] for end in ("mean", "low", "high"))
        series.append(Series(looks.name, [x for x, _ in points], *ends, hue=looks.hue))
    return Lines(title, *labels, tuple(series), log_x, tuple(references), kind, f"{note} {REPEATS}".strip(), log_y=True)
