"""Repeats brought together: a cell is one variant under one load; its figures are medians with min and max.

Variants were measured in turns, so a ratio is taken within each repeat, and the median over repeats after that.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Generic, TypeVar

from userip.loadtests.report.rows import InProcessRow, LoadRow, ScaleRow
from userip.reporting.blocks import Estimate

Row = TypeVar("Row", LoadRow, InProcessRow, ScaleRow)
SETTING = ("route", "batch", "candidates", "rate", "generator", "connections", "workers", "cache")


@dataclass(frozen=True)
class Cell(Generic[Row]):
    """The repeats of one variant under one load."""

    rows: tuple[Row, ...]

    @property
    def first(self) -> Row:
        """Any of them, for what they have in common."""
        return self.rows[0]

    def values(self, name: str) -> list[float]:
        """One figure of every repeat that has it."""
        return [value for row in self.rows if (value := _known(getattr(row, name))) is not None]

    def over(self, name: str) -> Estimate | None:
        """Median, least and greatest over the repeats."""
        return spread(self.values(name))

    def middle(self, name: str) -> float:
        """The median; NaN without a value."""
        return median(self.values(name) or [math.nan])

    def total(self, name: str) -> int:
        """A count, summed over the repeats."""
        return sum(getattr(row, name) for row in self.rows)


LoadCell = Cell[LoadRow]


def load_cells(rows: Sequence[LoadRow]) -> list[LoadCell]:
    """A cell per scenario, setting and variant, in the order in which they first occur."""
    return cells_by(rows, "scenario", *SETTING, "variant")


def cells_by(rows: Sequence[Row], *names: str) -> list[Cell[Row]]:
    """A cell for all rows that have these in common, in the order in which they first occur."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in names), []).append(row)
    return [Cell(tuple(group)) for group in groups.values()]


def settings(cells: Sequence[LoadCell], *without: str) -> list[list[LoadCell]]:
    """Cells together that have their setting in common, but for what is named."""
    names = [name for name in SETTING if name not in without]
    groups: dict[tuple[Any, ...], list[LoadCell]] = {}
    for cell in cells:
        groups.setdefault(tuple(getattr(cell.first, name) for name in names), []).append(cell)
    return list(groups.values())


def varying(cells: Sequence[LoadCell], name: str) -> list[list[LoadCell]]:
    """Groups whose settings differ in nothing but `name`, of the variants that have at least two values of it.

    Of a variant that was measured twice under one setting, the first counts.
    """
    found = []
    for group in settings(cells, name):
        chosen: dict[str, dict[Any, LoadCell]] = {}
        for cell in group:
            chosen.setdefault(cell.first.variant, {}).setdefault(getattr(cell.first, name), cell)
        kept = [cell for by_value in chosen.values() if len(by_value) > 1 for cell in by_value.values()]
        if kept:
            found.append(kept)
    return found


def by_variant(cells: Iterable[Cell[Row]]) -> dict[str, Cell[Row]]:
    """The first cell of each variant."""
    found: dict[str, Cell[Row]] = {}
    for cell in cells:
        found.setdefault(cell.first.variant, cell)
    return found


def ratio(mine: Cell[Row], base: Cell[Row] | None, name: str) -> Estimate | None:
    """mine / base of a figure, within each repeat that both have; None where there is none, it is zero, or mine."""
    if base is None or base is mine:
        return None
    under: Mapping[int, float | None] = {row.repeat: _known(getattr(row, name)) for row in base.rows}
    pairs = [(_known(getattr(row, name)), under.get(row.repeat)) for row in mine.rows]
    return spread([over / below for over, below in pairs if over is not None and below])


def spread(values: Sequence[float]) -> Estimate | None:
    """Median [min, max]; of one value no interval."""
    if not values:
        return None
    return Estimate(median(values), *((min(values), max(values)) if len(values) > 1 else (math.nan, math.nan)))


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
