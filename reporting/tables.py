"""Every block of numbers as a `Table`: what Markdown shows, and what stands behind each plot of the page."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from userip.reporting.blocks import (
    Bars,
    Cell,
    CodeMap,
    Column,
    Estimate,
    Heat,
    Intervals,
    Judged,
    Lines,
    Table,
    WordLists,
)
from userip.reporting.codemap import code_name
from userip.reporting.drawing import finite
from userip.reporting.forest import grouped, standing
from userip.reporting.numbers import is_missing, write_number

Plot = Intervals | Lines | Bars | CodeMap | WordLists | Heat


def as_table(block: Plot) -> Table:
    """The numbers of a plot. Of a `CodeMap` the sizes of its codes."""
    make: Callable[..., Table] = _TABLES[type(block)]
    return make(block)


def best_cells(table: Table) -> set[tuple[int, int]]:
    """(row, column) of the best values of each column with `better`, among the rows under one heading.

    Values that are written alike are equally good. Where only one row has a value, none is best.
    """
    best: set[tuple[int, int]] = set()
    starts = [number for number, row in enumerate(table.rows) if is_heading(table, row)]
    bounds = [-1, *starts, len(table.rows)]
    for first, last in pairwise(bounds):
        for at, column in enumerate(table.columns):
            values = {i: _value(table.rows[i][at]) for i in range(first + 1, last)}
            known = {i: value for i, value in values.items() if value is not None}
            if column.better is None or len(known) < 2:
                continue
            top = (max if column.better == "higher" else min)(known.values())
            best |= {
                (i, at) for i, v in known.items() if write_number(v, column.kind) == write_number(top, column.kind)
            }
    return best


def is_heading(table: Table, row: tuple[Cell, ...]) -> bool:
    """Whether a row is the heading of those below it."""
    return len(row) == 1 < len(table.columns)


def standing_of(cell: Cell, column: Column) -> str | None:
    """better or worse, where the interval of a difference excludes zero and the column says what is better."""
    if not isinstance(cell, Estimate) or column.better is None or column.kind not in ("difference", "change"):
        return None
    if cell.low > 0 or cell.high < 0:
        return "better" if (cell.low > 0) == (column.better == "higher") else "worse"
    return None


def _value(cell: Cell) -> float | None:
    number = cell.mean if isinstance(cell, Estimate) else cell
    return None if isinstance(number, str | Judged) or is_missing(number) else number


def _estimate(mean: float, low: Sequence[float], high: Sequence[float], at: int) -> Cell:
    return Estimate(mean, low[at], high[at]) if len(low) else mean


def _intervals(block: Intervals) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group, members in grouped(block.rows):
        rows += [(group,)] if group else []
        for row in members:
            said = {"even": "undecided"}.get(standing(row, block), standing(row, block))
            rows.append((row.name, Estimate(row.mean, row.low, row.high), said if finite(row.mean) else ""))
    # A reference at zero goes without saying.
    rows += [(reference.name, reference.value, "") for reference in block.references if reference.value]
    columns = (Column(""), Column(block.axis, block.kind), Column("interval"))
    if block.references:
        return Table(block.title, columns, tuple(rows), block.note)
    return Table(block.title, columns[:2], tuple(row[:2] for row in rows), block.note)


def _lines(block: Lines) -> Table:
    if block.numbers:
        return block.numbers
    xs = sorted({x for series in block.series for x in series.x if not is_missing(x)})
    columns = [
        Column(f"{block.y_label}, by {block.x_label}"),
        *(Column(write_number(x, "number"), block.kind) for x in xs),
    ]
    rows: list[tuple[Cell, ...]] = []
    for series in block.series:
        at = {
            x: _estimate(y, series.low, series.high, i) for i, (x, y) in enumerate(zip(series.x, series.y, strict=True))
        }
        rows.append((series.name, *(at.get(x) for x in xs)))
    rows += [(reference.name, *(reference.value for _ in xs)) for reference in block.references if xs]
    return Table(block.title, tuple(columns), tuple(rows), block.note)


def _bars(block: Bars) -> Table:
    rows = [
        (name, *(_estimate(series.values[i], series.low, series.high, i) for series in block.series))
        for i, name in enumerate(block.labels)
    ]
    columns = (Column(block.x_label), *(Column(series.name or block.y_label, block.kind) for series in block.series))
    return Table(block.title, columns, tuple(rows), block.note)


def _codemap(block: CodeMap) -> Table:
    users = sorted(Counter(block.codes).items(), key=lambda item: (-item[1], item[0]))
    rows = tuple((code_name(block, code), float(count), count / len(block.codes)) for code, count in users)
    return Table(block.title, (Column("code"), Column("users", "count"), Column("share", "percent")), rows, block.note)


def _words(block: WordLists) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group in block.groups:
        rows.append((f"{group.name} ({group.about})" if group.about else group.name,))
        rows += [(word.word, Estimate(word.lift, word.low, word.high)) for word in group.words]
    return Table(block.title, (Column("over-represented"), Column("lift", "number")), tuple(rows), block.note)


def _heat(block: Heat) -> Table:
    corner = " \\ ".join(text for text in (block.row_label, block.column_label) if text)
    columns = (Column(corner), *(Column(name, block.kind) for name in block.columns))
    rows = tuple((name, *values) for name, values in zip(block.rows, block.values, strict=True))
    return Table(block.title, columns, rows, block.note)


_TABLES: dict[type[Plot], Callable[..., Table]] = {
    Intervals: _intervals,
    Lines: _lines,
    Bars: _bars,
    CodeMap: _codemap,
    WordLists: _words,
    Heat: _heat,
}
