"""What to read with care, and everything that was measured. What no bench on one machine can say stands in the docs."""

from collections import Counter
from collections.abc import Mapping, Sequence

from userip.loadtests.report.cells import LoadCell
from userip.loadtests.report.names import look, setting
from userip.loadtests.report.tables import FAILED, LATENCIES, THROUGHPUT, cells_table, figure, total
from userip.reporting.blocks import Block, Cell, Column, Section, Table, Text

BUSY = 0.9
"""Share of a core from which on a generator may have been what limits."""
LATE = 0.25
"""Share of the 99th percentile from which on a generator's own lateness blurs it."""
APART = 1.5
"""Greatest p99 over least, from which on repeats of one cell do not agree."""


def caveats(cells: Sequence[LoadCell], notes: Sequence[str]) -> list[Section]:
    """The notes of the bench, and a table of the cells to read with care."""
    rows: list[tuple[Cell, ...]] = []
    for cell in cells:
        if reasons := _reasons(cell):
            name = f"{cell.first.scenario}, {look(cell.first.variant).name}"
            rows.append((name, "; ".join(reasons), *map(cell.over, ("generator_cpu", "late_ms", "p99_ms"))))
    columns = (
        Column("where"), Column("what"), Column("generator CPU", "percent"), Column("generator late", "milliseconds"),
        Column("p99", "milliseconds"),
    )  # fmt: skip
    blocks: list[Block] = [Text(tuple(notes), "Notes of this run")] if notes else []
    blocks += [Table("Cells to read with care", columns, tuple(rows))] if rows else []
    answer = f"{len(rows)} of {len(cells)} cells are to be read with care." if cells else ""
    return [Section("Caveats", "", answer, None, tuple(blocks))] if answer or blocks else []


def _reasons(cell: LoadCell) -> list[str]:
    cpu, late, p99 = (cell.values(name) for name in ("generator_cpu", "late_ms", "p99_ms"))
    kinds = Counter[str]()
    for row in cell.rows:
        kinds.update(row.failures)
    mostly = f", mostly {kinds.most_common(1)[0][0]}" if kinds else ""
    reasons = {
        "wrong answers": bool(cell.total("wrong")),
        f"failed requests{mostly}: the other figures are of those that were answered": bool(cell.total("failed")),
        "too few cores: service and load shared one": not all(row.apart for row in cell.rows),
        "the generator's core was full": bool(cpu) and cell.middle("generator_cpu") >= BUSY,
        "the generator was late": bool(late and p99) and cell.middle("late_ms") >= LATE * cell.middle("p99_ms"),
        "repeats do not agree": len(p99) > 1 and min(p99) > 0 and max(p99) / min(p99) >= APART,
    }
    return [reason for reason, holds in reasons.items() if holds]


def everything(cells: Sequence[LoadCell]) -> list[Section]:
    """All cells with all figures, in the order in which they were measured."""
    if not cells:
        return []
    groups: dict[str, list[LoadCell]] = {}
    for cell in cells:
        groups.setdefault(f"{cell.first.scenario}: {setting(cell.first)}", []).append(cell)
    columns = (
        (Column("repeats", "count"), lambda cell, _: float(len(cell.rows))),
        THROUGHPUT,
        *LATENCIES,
        (Column("verified", "count"), total("verified")),
        (Column("wrong", "count"), total("wrong")),
        FAILED,
        (Column("service CPU", "percent"), figure("server_cpu")),
        (Column("generator CPU", "percent"), figure("generator_cpu")),
        (Column("service, MiB", "count"), figure("rss_mb")),
    )
    return [Section("All figures", blocks=(cells_table("", list(groups.items()), columns),))]


def machine_section(machine: Mapping[str, str]) -> list[Section]:
    """On what it was measured, with which versions."""
    facts = Table("", (Column(""), Column("")), tuple((name, str(value)) for name, value in machine.items()))
    return [Section("Machine", blocks=(facts,))] if machine else []
