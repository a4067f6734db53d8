"""The paper's own measure: seconds per 10,000 instances, by variant and number of candidates."""

from collections.abc import Sequence

from userip.loadtests.report.cells import ProcessCell, process_cells, ratio
from userip.loadtests.report.gates import standard
from userip.loadtests.report.rows import InProcessRow
from userip.loadtests.report.wording import OURS, PAPER, RATIOS, REPEATS, look, order, say
from userip.reporting.blocks import Block, Cell, Column, Lines, Reference, Section, Series, Table
from userip.reporting.numbers import write_number


def per_10k(rows: Sequence[InProcessRow]) -> list[Section]:
    """Curves over the candidates of a request, the seconds, and the ratios to DCN, with the paper's beside."""
    scenarios = process_cells(rows)
    if not scenarios:
        return []
    cells, *others = scenarios.values()
    variants = sorted({cell.first.variant for cell in cells}, key=order)
    sizes = sorted({cell.first.candidates for cell in cells})
    at = _at(cells)
    blocks: tuple[Block, ...] = (
        _beside_paper(standard(cells)),
        _curves(variants, sizes, at, cells[0].first.scenario),
        _ratios(variants, sizes, at),
    )
    blocks += tuple(_seconds(variants, sizes, _at(other), other[0].first.scenario) for other in others)
    return [Section("The paper's measure", "", _answer(cells), None, blocks)]


At = dict[tuple[str, int], ProcessCell]


def _at(cells: Sequence[ProcessCell]) -> At:
    return {(cell.first.variant, cell.first.candidates): cell for cell in cells}


def _answer(cells: Sequence[ProcessCell]) -> str:
    found = standard(cells)
    if OURS not in found:
        return ""
    parts = []
    for name in sorted(found, key=order):
        if name in PAPER and name != "dcn" and "dcn" in found:
            against = say(ratio(found[name], found["dcn"], "seconds_per_10k"), "ratio")
            parts.append(f"{look(name).name} {against} (paper {write_number(_paper(name), 'ratio')})")
    mine = say(found[OURS].over("seconds_per_10k"), "seconds")
    told = f"UserIP takes {mine} per 10,000 instances at {found[OURS].first.candidates:,} candidates a request"
    return f"{told}; in times of DCN: {', '.join(parts)}." if parts else f"{told}."


def _beside_paper(found: dict[str, ProcessCell]) -> Table:
    """The standard size alone, as the paper has it."""
    columns = (
        Column("variant"),
        Column("seconds", "number"),
        Column("to DCN", "ratio"),
        Column("paper, seconds", "number"),
        Column("paper, to DCN", "ratio"),
    )
    rows: list[tuple[Cell, ...]] = []
    variants = sorted(found, key=order)
    for name in variants:
        to_dcn = None if name == "dcn" else ratio(found[name], found.get("dcn"), "seconds_per_10k")
        rows.append((look(name).name, found[name].over("seconds_per_10k"), to_dcn, PAPER.get(name), _paper(name)))
    size = "".join(f", {one.first.candidates:,} candidates a request" for one in list(found.values())[:1])
    return Table(f"Seconds per 10,000 instances{size}", columns, tuple(rows), RATIOS, _tinted(variants))


def _curves(variants: Sequence[str], sizes: Sequence[int], at: At, scenario: str) -> Lines:
    series = []
    for name in variants:
        known = [size for size in sizes if (name, size) in at]
        found = [at[name, size].values("seconds_per_10k") for size in known]
        middle = [at[name, size].middle("seconds_per_10k") for size in known]
        looks = look(name, variants)
        series.append(
            Series(looks.name, known, middle, [min(v) for v in found], [max(v) for v in found], hue=looks.hue)
        )
    return Lines(
        "Seconds per 10,000 instances, lookup included", "candidates of a request", "seconds per 10,000 instances",
        tuple(series), log_x=True, log_y=True, kind="seconds",
        references=tuple(Reference(f"paper: {look(name).name}", seconds) for name, seconds in PAPER.items()),
        note="In process, without HTTP. The paper's machine was another one: compare ratios, not seconds.",
    )  # fmt: skip


def _seconds(variants: Sequence[str], sizes: Sequence[int], at: At, scenario: str) -> Table:
    columns = (Column("by candidates of a request"), *(Column(f"{size:,}", "number") for size in sizes))
    columns += (Column("paper", "number"),)
    rows: list[tuple[Cell, ...]] = []
    for name in variants:
        mine = [at[name, size].over("seconds_per_10k") if (name, size) in at else None for size in sizes]
        rows.append((look(name).name, *mine, PAPER.get(name)))
    return Table(f"Seconds per 10,000 instances, {scenario}", columns, tuple(rows), REPEATS, _tinted(variants))


def _ratios(variants: Sequence[str], sizes: Sequence[int], at: At) -> Table:
    columns = (Column("by candidates of a request"), *(Column(f"{size:,}", "ratio") for size in sizes))
    columns += (Column("paper", "ratio"),)
    rows: list[tuple[Cell, ...]] = []
    for name in variants:
        pairs = [(at.get((name, size)), at.get(("dcn", size))) for size in sizes]
        found = [ratio(mine, base, "seconds_per_10k") if mine and mine is not base else None for mine, base in pairs]
        rows.append((look(name).name, *found, _paper(name)))
    return Table("Times the seconds of DCN", columns, tuple(rows), RATIOS, _tinted(variants))


def _paper(name: str) -> float | None:
    return PAPER[name] / PAPER["dcn"] if name in PAPER and name != "dcn" else None


def _tinted(variants: Sequence[str]) -> tuple[int, ...]:
    return tuple(number for number, name in enumerate(variants) if name == OURS)
