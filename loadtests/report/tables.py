"""Tables of cells under load."""

from collections.abc import Callable, Sequence

from userip.loadtests.report.cells import LoadCell
from userip.loadtests.report.wording import OURS, REPEATS, look, sort
from userip.reporting import blocks
from userip.reporting.blocks import Column, Table

Value = Callable[[LoadCell], blocks.Cell]


def figure(name: str) -> Value:
    """Median, least and greatest of one figure of a row."""
    return lambda cell: cell.over(name)


THROUGHPUT: tuple[Column, Value] = (Column("requests/s", "count"), figure("throughput"))
LATENCIES: tuple[tuple[Column, Value], ...] = (
    (Column("p50", "milliseconds"), figure("p50_ms")),
    (Column("p95", "milliseconds"), figure("p95_ms")),
    (Column("p99", "milliseconds"), figure("p99_ms")),
)
FAILED: tuple[Column, Value] = (Column("failed", "count"), lambda cell: float(cell.total("failed")))


def cells_table(
    title: str,
    groups: Sequence[tuple[str, Sequence[LoadCell]]],
    columns: Sequence[tuple[Column, Value]],
    note: str = REPEATS,
) -> Table:
    """A heading and its cells, by variant, for each group; UserIP's rows are tinted."""
    rows: list[tuple[blocks.Cell, ...]] = []
    ours = []
    for heading, cells in groups:
        rows += [(heading,)] if heading else []
        for cell in sort(cells):
            if cell.first.variant == OURS:
                ours.append(len(rows))
            rows.append((look(cell.first.variant).name, *(value(cell) for _, value in columns)))
    names = (Column("variant"), *(column for column, _ in columns))
    return Table(title, names, tuple(rows), note, tuple(ours))
