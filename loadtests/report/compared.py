"""What else changes the figures: the cache, workers, and which load generator looks."""

from collections.abc import Sequence
from typing import Any

from userip.loadtests.report.cells import LoadCell, ratio, varying
from userip.loadtests.report.wording import RATIOS, look, order, setting
from userip.reporting import blocks
from userip.reporting.blocks import Block, Column, Section, Table

_CACHES = ("off", "cold", "warm")


def cache_and_workers(cells: Sequence[LoadCell]) -> list[Section]:
    """Loads that differ in nothing but the cache, or the number of workers."""
    tables = [_compared(cells, "cache", "Cache off, cold and warm"), _compared(cells, "workers", "Workers")]
    found: tuple[Block, ...] = tuple(table for table in tables if table)
    return [Section("Cache and workers", "", "", None, found)] if found else []


def generators(cells: Sequence[LoadCell]) -> list[Section]:
    """Loads that differ in nothing but the generator: an error of one of them would show."""
    table = _compared(cells, "generator", "The same load from different generators")
    if not table:
        return []
    told = "Throughput and latency as independent programs see them, which share no code with each other."
    return [Section("Generators", "", told, None, (table,))]


def _compared(cells: Sequence[LoadCell], name: str, title: str) -> Table | None:
    rows: list[tuple[blocks.Cell, ...]] = []
    for group in varying(cells, name):
        rows.append((setting(group[0].first, name),))
        for cell in sorted(group, key=lambda cell: (order(cell.first.variant), _place(getattr(cell.first, name)))):
            base = _first(group, cell, name)
            to_first = None if base is cell else ratio(cell, base, "throughput")
            figures = [cell.over(figure) for figure in ("throughput", "p50_ms", "p99_ms")]
            rows.append(
                (look(cell.first.variant).name, str(getattr(cell.first, name)), figures[0], to_first, *figures[1:])
            )
    columns = (
        Column("variant"),
        Column(name),
        Column("requests/s", "count"),
        Column("to the first", "ratio"),
        Column("p50", "milliseconds"),
        Column("p99", "milliseconds"),
    )
    return Table(title, columns, tuple(rows), RATIOS) if rows else None


def _first(group: Sequence[LoadCell], cell: LoadCell, name: str) -> LoadCell:
    same = [other for other in group if other.first.variant == cell.first.variant]
    return min(same, key=lambda other: _place(getattr(other.first, name)))


def _place(value: Any) -> tuple[int, str]:  # noqa: ANN401  (a number of workers, or a word)
    return (_CACHES.index(value) if value in _CACHES else value if isinstance(value, int) else 0, str(value))
