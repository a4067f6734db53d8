"""How much each variant can bear: closed loops, beside a route that only reads the body and answers."""

from collections.abc import Sequence

from userip.loadtests.report.cells import LoadCell, by_variant, ratio, settings
from userip.loadtests.report.tables import FAILED, LATENCIES, THROUGHPUT, cells_table
from userip.loadtests.report.wording import OURS, RATIOS, look, order, say, setting
from userip.reporting import blocks
from userip.reporting.blocks import Bars, Column, Section, Series


def saturation(cells: Sequence[LoadCell]) -> list[Section]:
    """Throughput of every closed loop, and its ratio to echo where echo bore the same load."""
    groups = settings([cell for cell in cells if cell.first.rate is None])
    if not groups:
        return []
    base = {cell: by_variant(group).get("echo") for group in groups for cell in group}

    def against(cell: LoadCell) -> blocks.Cell:
        return None if cell is base[cell] else ratio(cell, base[cell], "throughput")

    # The other generators have a section of their own.
    generator = cells[0].first.generator
    compared = [group for group in groups if base[group[0]] and group[0].first.generator == generator]
    told = [
        f"{say(ratio(by_variant(group)[OURS], by_variant(group)['echo'], 'throughput'), 'ratio')} of echo "
        f"({setting(group[0].first, 'route', 'rate', 'generator')})"
        for group in compared
        if OURS in by_variant(group)
    ]
    # What only one variant bore is compared with something else in other sections, and stands among all figures.
    shown = [group for group in groups if len(by_variant(group)) > 1 and group[0].first.generator == generator]
    table = cells_table(
        "Closed loops",
        [(_title(group), group) for group in shown],
        (
            THROUGHPUT,
            (Column("to echo", "ratio"), against),
            *LATENCIES,
            (Column("CPU", "percent"), lambda cell: cell.over("server_cpu")),
            FAILED,
        ),
        f"{RATIOS} CPU is of one core. Latencies in a closed loop are those of a full queue.",
    )
    answer = f"UserIP bears {'; '.join(told)}." if told else ""
    figures = [_bars(compared)] if compared else []
    return [Section("Saturation", "", answer, None, (*figures, table))]


def _title(group: Sequence[LoadCell]) -> str:
    return f"{', '.join(dict.fromkeys(cell.first.scenario for cell in group))}: {setting(group[0].first, 'rate')}"


def _bars(groups: Sequence[Sequence[LoadCell]]) -> Bars:
    found = [by_variant(group) for group in groups]
    variants = sorted({name for group in found for name in group}, key=order)
    nan = float("nan")
    labels = tuple(f"{group[0].first.scenario} ({group[0].first.candidates:,})" for group in groups)
    series = []
    for name in variants:
        ends = [group[name].values("throughput") if name in group else [nan] for group in found]
        middle = [group[name].middle("throughput") if name in group else nan for group in found]
        looks = look(name, variants)
        low, high = ([end(values or [nan]) for values in ends] for end in (min, max))
        series.append(Series(looks.name, labels, middle, low, high, hue=looks.hue))
    return Bars("Requests per second at saturation", "scenario (candidates)", "requests/s", tuple(series))
