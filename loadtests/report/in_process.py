"""The paper's own measure: seconds per 10,000 instances, by variant and number of candidates."""

from collections.abc import Sequence

from userip.loadtests.report.cells import Cell, by_variant, cells_by
from userip.loadtests.report.names import OURS, RATIOS, look
from userip.loadtests.report.rows import InProcessRow
from userip.loadtests.report.tables import Value, against, cells_table, curves, figure
from userip.reporting.blocks import Block, Column, Reference, Section

# Seconds per 10,000 instances, from the paper's table of inference times.
PAPER = {"dcn": 0.93, "userip": 1.21, "kar-online": 4.78}
STANDARD = 100  # candidates of a request where one number has to stand for all
SECONDS = "seconds_per_10k"
ProcessCell = Cell[InProcessRow]


def paper_ratio(variant: str, base: str = "dcn") -> float | None:
    """The paper's ratio of two variants, where it has both."""
    return PAPER[variant] / PAPER[base] if {variant, base} <= set(PAPER) and variant != base else None


def process_cells(rows: Sequence[InProcessRow]) -> dict[str, list[ProcessCell]]:
    """By scenario a cell per number of candidates and variant; the scenario with the shortest name first."""
    found: dict[str, list[ProcessCell]] = {}
    for name in sorted({row.scenario for row in rows}, key=lambda name: (len(name), name)):
        found[name] = cells_by([row for row in rows if row.scenario == name], "candidates", "variant")
    return found


def standard(cells: Sequence[ProcessCell]) -> dict[str, ProcessCell]:
    """The variants at the standard number of candidates, else at the least that UserIP was measured with."""
    sizes = sorted({cell.first.candidates for cell in cells if cell.first.variant == OURS})
    size = STANDARD if STANDARD in sizes else next(iter(sizes), STANDARD)
    return by_variant(cell for cell in cells if cell.first.candidates == size)


def per_10k(rows: Sequence[InProcessRow]) -> list[Section]:
    """Curves over the candidates of a request, and for each scenario seconds and ratios beside the paper's."""
    scenarios = process_cells(rows)
    if not scenarios:
        return []
    paper: Value = lambda cell, _: PAPER.get(cell.first.variant)  # noqa: E731  (a column)
    paper_to_dcn: Value = lambda cell, _: paper_ratio(cell.first.variant)  # noqa: E731
    columns = (
        (Column("seconds", "number"), figure(SECONDS)),
        (Column("to DCN", "ratio"), against("dcn", SECONDS)),
        (Column("paper, seconds", "number"), paper),
        (Column("paper, to DCN", "ratio"), paper_to_dcn),
    )
    first = next(iter(scenarios.values()))
    blocks: list[Block] = [
        curves(
            first, "candidates", SECONDS, "Seconds per 10,000 instances, lookup included",
            ("candidates of a request", "seconds per 10,000 instances"), "seconds", "In process, without HTTP.",
            [Reference(f"paper: {look(name).name}", seconds) for name, seconds in PAPER.items()],
        )
    ]  # fmt: skip
    for scenario, cells in scenarios.items():
        sizes = sorted({cell.first.candidates for cell in cells})
        groups = [
            (f"{size:,} candidates a request", [cell for cell in cells if cell.first.candidates == size])
            for size in sizes
        ]
        blocks.append(cells_table(f"Seconds per 10,000 instances, {scenario}", groups, columns, RATIOS))
    return [Section("The paper's measure", blocks=tuple(blocks))]
