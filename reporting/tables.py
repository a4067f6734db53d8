"""Every block of numbers as a `Table`: what Markdown shows, and the data under each plot of the page."""

import math
from collections import Counter
from itertools import pairwise

from userip.reporting.blocks import (
    Cell,
    CodeMap,
    Column,
    Estimate,
    IntervalRow,
    Intervals,
    Lines,
    Plot,
    Series,
    Table,
    Verdict,
    WordLists,
)
from userip.reporting.numbers import is_missing, write_number


def as_table(block: Table | Plot | WordLists) -> Table:
    """The numbers of a plot. Of a `CodeMap` the sizes of its codes."""
    match block:
        case Table():
            return block
        case Intervals():
            return _intervals(block)
        case Lines():
            return _points(block)
        case CodeMap():
            return _codemap(block)
        case WordLists():
            return _words(block)


def best_cells(table: Table) -> set[tuple[int, int]]:
    """(row, column) of the best values of each column with `better`, among the rows under one heading.

    Values that are written alike are equally good. Where only one row has a value, none is best.
    """
    best: set[tuple[int, int]] = set()
    starts = [number for number, row in enumerate(table.rows) if is_heading(table, row)]
    for first, last in pairwise([-1, *starts, len(table.rows)]):
        for at, column in enumerate(table.columns):
            values = {i: _value(table.rows[i][at]) for i in range(first + 1, last)}
            known = {i: value for i, value in values.items() if value is not None}
            if column.better is None or len(known) < 2:
                continue
            top = write_number((max if column.better == "higher" else min)(known.values()), column.kind)
            best |= {(i, at) for i, value in known.items() if write_number(value, column.kind) == top}
    return best


def is_heading(table: Table, row: tuple[Cell, ...]) -> bool:
    """Whether a row is the heading of those below it."""
    return len(row) == 1 < len(table.columns)


def standing(low: float, high: float, better: str | None, zero: float = 0.0) -> str:
    """better or worse, where the interval excludes zero and it is known what is better; else undecided."""
    if better is None or not (math.isfinite(low) and math.isfinite(high)) or low <= zero <= high:
        return "undecided"
    return "better" if (low > zero) == (better == "higher") else "worse"


def row_standing(row: IntervalRow, block: Intervals) -> str:
    """On which side of the first reference the whole interval lies: better, worse or undecided."""
    return standing(row.low, row.high, block.better, block.references[0].value) if block.references else "undecided"


def grouped(rows: tuple[IntervalRow, ...]) -> list[tuple[str, list[IntervalRow]]]:
    """The groups in the order in which they first occur; rows without one stand above all headings."""
    groups: dict[str, list[IntervalRow]] = {"": []}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return [(name, members) for name, members in groups.items() if members]


def code_name(block: CodeMap, code: int) -> str:
    """The number of a code and, where it has one, its name."""
    return f"{code} {block.names[code]}" if code < len(block.names) and block.names[code] else str(code)


def _value(cell: Cell) -> float | None:
    number = cell.mean if isinstance(cell, Estimate) else cell
    return None if isinstance(number, str | Verdict) or is_missing(number) else number


def _intervals(block: Intervals) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group, members in grouped(block.rows):
        rows += [(group,)] if group else []
        for row in members:
            which = row_standing(row, block) if math.isfinite(row.mean) else ""
            rows.append((row.name, Estimate(row.mean, row.low, row.high), which))
    # A reference at zero goes without saying.
    rows += [(reference.name, reference.value, "") for reference in block.references if reference.value]
    width = 3 if block.references else 2
    columns = (Column(""), Column(block.axis, block.kind), Column("interval"))
    return Table(block.title, columns[:width], tuple(row[:width] for row in rows), block.note)


def _points(block: Lines) -> Table:
    """A row for each x, a column for each series and reference."""
    xs: list[float | str] = list(dict.fromkeys(x for series in block.series for x in series.x))
    numeric = not any(isinstance(x, str) for x in xs)
    xs = sorted(xs, key=float) if numeric else xs
    columns = [Column(block.x_label, "number" if numeric else "text")]
    columns += [Column(series.name, block.kind) for series in block.series]
    columns += [Column(reference.name, block.kind) for reference in block.references]
    values = [dict(zip(series.x, _estimates(series), strict=True)) for series in block.series]
    ends = [reference.value for reference in block.references]
    rows = tuple((x, *(at.get(x) for at in values), *ends) for x in xs)
    return Table(block.title, tuple(columns), rows, block.note)


def _estimates(series: Series) -> list[Cell]:
    if not len(series.low):
        return list(series.y)
    return [Estimate(*three) for three in zip(series.y, series.low, series.high, strict=True)]


def _codemap(block: CodeMap) -> Table:
    users = sorted(Counter(block.codes).items(), key=lambda item: (-item[1], item[0]))
    rows = tuple((code_name(block, code), float(count), count / len(block.codes)) for code, count in users)
    return Table(block.title, (Column("code"), Column("users", "count"), Column("share", "percent")), rows, block.note)


def _words(block: WordLists) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group in block.groups:
        rows.append((f"{group.name} ({group.about})" if group.about else group.name,))
        rows += [(word.word, Estimate(word.lift, word.low, word.high)) for word in group.words]
    return Table(block.title, (Column("over-represented"), Column("lift", "ratio")), tuple(rows), block.note)
