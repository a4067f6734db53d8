"""Caveats: what no bench on one machine can say, and the rows in which something was amiss."""

from collections.abc import Mapping, Sequence

from userip.loadtests.report.cells import LoadCell
from userip.loadtests.report.tables import FAILED, LATENCIES, THROUGHPUT, cells_table, figure
from userip.loadtests.report.wording import look, setting
from userip.reporting.blocks import Block, Cell, Column, Section, Table, Text

BUSY = 0.9
"""Share of a core from which on a generator may have been what limits."""
LATE = 0.25
"""Share of the 99th percentile from which on a generator's own lateness blurs it."""
APART = 1.5
"""Greatest p99 over least, from which on repeats of one cell do not agree."""

CAVEATS = (
    "Service, bank and load generator share one machine, its memory bandwidth and its caches; where others use "
    "it too, seconds say little. Ratios hold better: variants were measured in turns, and each ratio is of one repeat.",
    "The network is the loopback device: a real one adds its own latency to every variant alike, which makes ratios of "
    "latency smaller.",
    "A generator costs processor time as well. Where its core was nearly full, or its requests left late, the figures "
    "are of the generator as much as of the service.",
)


def caveats(cells: Sequence[LoadCell], notes: Sequence[str]) -> Section:
    """The caveats, the notes of the bench, and a table of the cells to read with care."""
    rows: list[tuple[Cell, ...]] = []
    for cell in cells:
        reasons = _reasons(cell)
        if reasons:
            rows.append(
                (
                    f"{cell.first.scenario}, {look(cell.first.variant).name}", "; ".join(reasons),
                    cell.over("generator_cpu"), cell.over("late_ms"), cell.over("p99_ms"),
                )
            )  # fmt: skip
    columns = (
        Column("where"),
        Column("what"),
        Column("generator CPU", "percent"),
        Column("generator late", "milliseconds"),
        Column("p99", "milliseconds"),
    )
    said = f"{len(rows)} of {len(cells)} cells are to be read with care."
    blocks: tuple[Block, ...] = (
        Text(CAVEATS),
        *([Text(tuple(notes), "Notes of this run")] if notes else []),
        *([Table("Cells to read with care", columns, tuple(rows))] if rows else []),
    )
    return Section("Caveats", "", said if cells else "", None, blocks)


def _reasons(cell: LoadCell) -> list[str]:
    cpu, late, p99 = (cell.values(name) for name in ("generator_cpu", "late_ms", "p99_ms"))
    found = []
    if cell.total("wrong"):
        found.append("wrong answers")
    if cell.total("failed"):
        found.append("failed requests")
    if cpu and cell.middle("generator_cpu") >= BUSY:
        found.append("the generator's core was full")
    if late and p99 and cell.middle("late_ms") >= LATE * cell.middle("p99_ms"):
        found.append("the generator was late")
    if len(p99) > 1 and min(p99) and max(p99) / min(p99) >= APART:
        found.append("repeats do not agree")
    return found


def everything(cells: Sequence[LoadCell]) -> list[Section]:
    """All cells with all figures, in the order in which they were measured."""
    if not cells:
        return []
    groups: dict[str, list[LoadCell]] = {}
    for cell in cells:
        groups.setdefault(f"{cell.first.scenario}: {setting(cell.first)}", []).append(cell)
    columns = (
        (Column("repeats", "count"), lambda cell: float(len(cell.rows))),
        THROUGHPUT,
        *LATENCIES,
        (Column("verified", "count"), lambda cell: float(cell.total("verified"))),
        (Column("wrong", "count"), lambda cell: float(cell.total("wrong"))),
        FAILED,
        (Column("service CPU", "percent"), figure("server_cpu")),
        (Column("generator CPU", "percent"), figure("generator_cpu")),
        (Column("service, MiB", "count"), figure("rss_mb")),
    )
    return [Section("All figures", "", "", None, (cells_table("", list(groups.items()), columns),))]


def machine_section(machine: Mapping[str, str]) -> list[Section]:
    """On what it was measured, with which versions."""
    if not machine:
        return []
    facts = Table("", (Column(""), Column("")), tuple((name, str(machine[name])) for name in machine))
    return [Section("Machine", "", "", None, (facts,))]
