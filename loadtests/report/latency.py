"""Latency of open loops: over the rate, as distributions, and over the number of candidates."""

from collections.abc import Sequence
from itertools import chain
from statistics import median

from userip.loadtests.report.cells import LoadCell, by_variant, ratio, settings
from userip.loadtests.report.tables import FAILED, LATENCIES, cells_table
from userip.loadtests.report.wording import RATIOS, REPEATS, look, order, setting, sort
from userip.reporting import blocks
from userip.reporting.blocks import Block, Column, Kind, Lines, Section, Series

PERCENTILES = {
    "p50_ms": "Median latency",
    "p95_ms": "95th percentile of latency",
    "p99_ms": "99th percentile of latency",
}
AXES = {"rate": "requests per second", "candidates": "candidates of a request"}
MS: Kind = "milliseconds"
COUNT: Kind = "count"
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


def latency_at_rates(cells: Sequence[LoadCell]) -> list[Section]:
    """Curves over the rate, a distribution for each route, and all fixed rates with the ratio to DCN."""
    fixed = [cell for cell in cells if cell.first.rate is not None]
    if not fixed:
        return []
    groups = sorted(settings(fixed), key=lambda group: (setting(group[0].first, "rate"), group[0].first.rate or 0))
    base = {cell: by_variant(group).get("dcn") for group in groups for cell in group}

    def against(cell: LoadCell) -> blocks.Cell:
        return None if cell is base[cell] else ratio(cell, base[cell], "p99_ms")

    shown = [group for group in groups if len(by_variant(group)) > 1]
    table = cells_table(
        "Variants at the same rate",
        [(f"{group[0].first.scenario}: {setting(group[0].first)}", group) for group in shown],
        (*LATENCIES, (Column("p99 to DCN", "ratio"), against), FAILED),
        f"{RATIOS} Arrivals are random (Poisson); latency counts from when a request was due, also if it left late.",
    )
    return [
        Section(
            "Latency at fixed rates",
            "",
            "",
            None,
            (*_over_rate(fixed), *_distributions(groups), *([table] if shown else [])),
        )
    ]


def latency_by_candidates(cells: Sequence[LoadCell]) -> list[Section]:
    """Percentiles over the candidates of a request: at one fixed rate, or else in closed loops."""
    groups = [group for group in settings(cells, "candidates") if _most(group, "candidates") > 1]
    if not groups:
        return []
    by_size = sorted(groups, key=lambda group: (_most(group, "candidates"), len(group)), reverse=True)
    fixed = next((group for group in by_size if group[0].first.rate is not None), by_size[0])
    closed = next((group for group in by_size if group[0].first.rate is None), None)
    curves = [_curves(fixed, "candidates", name) for name in ("p50_ms", "p99_ms")]
    curves += [_curves(closed, "candidates", "throughput")] if closed else []
    return [Section("Number of candidates", "", "", None, tuple(curves))]


def _over_rate(fixed: Sequence[LoadCell]) -> list[Block]:
    """For the one setting that was measured at the most rates."""
    group = max(settings(fixed, "rate"), key=lambda group: (_most(group, "rate"), len(group)))
    if _most(group, "rate") < 2:
        return []
    return [_curves(group, "rate", name) for name in PERCENTILES]


def _most(group: Sequence[LoadCell], name: str) -> int:
    """The most values of `name` that any one variant has."""
    values: dict[str, set[float]] = {}
    for cell in group:
        values.setdefault(cell.first.variant, set()).add(getattr(cell.first, name))
    return max(len(found) for found in values.values())


def _curves(group: Sequence[LoadCell], by: str, figure: str) -> Lines:
    variants = sorted({cell.first.variant for cell in group}, key=order)
    series: list[Series] = []
    for name in variants:
        at = {getattr(cell.first, by): cell.values(figure) for cell in reversed(group) if cell.first.variant == name}
        points = sorted((x, values) for x, values in at.items() if values and min(values) > 0)
        looks = look(name, variants)
        parts = ([end(values) for _, values in points] for end in (median, min, max))
        series.append(Series(looks.name, [x for x, _ in points], *parts, hue=looks.hue))
    label, where = AXES[by], setting(group[0].first, by)
    title, kind = (PERCENTILES[figure], MS) if figure in PERCENTILES else ("Requests per second", COUNT)
    return Lines(
        f"{title} by {label}", label, "latency" if kind == MS else "requests/s", tuple(series),
        log_x=by == "candidates", log_y=True, kind=kind,
        note=f"{where}. {REPEATS}",
    )  # fmt: skip


def _distributions(groups: Sequence[Sequence[LoadCell]]) -> list[Block]:
    """For each route the fixed rate that the most variants were measured at; the highest of those."""
    routes: dict[str, list[Sequence[LoadCell]]] = {}
    for group in groups:
        known = [cell for cell in group if any(row.quantiles for row in cell.rows)]
        if known:
            routes.setdefault(known[0].first.route, []).append(known)
    best = [
        max(found, key=lambda group: (len(by_variant(group)), group[0].first.rate or 0)) for found in routes.values()
    ]
    best.sort(key=lambda group: -len(by_variant(group)))
    return [_percentiles(list(by_variant(sort(group)).values())) for group in best]


def _percentiles(cells: Sequence[LoadCell]) -> Lines:
    variants = [cell.first.variant for cell in cells]
    series = []
    for cell in cells:
        at = _quantiles(cell)
        looks = look(cell.first.variant, variants)
        known = [share for share in QUANTILES if share in at]
        series.append(
            Series(looks.name, [f"{100 * share:g} %" for share in known], [at[share] for share in known], hue=looks.hue)
        )
    return Lines(
        "Latency by share of requests", "share of requests answered within it", "latency", tuple(series), kind=MS,
        log_y=True, note=f"{setting(cells[0].first)}. Median over the repeats at every share.",
    )  # fmt: skip


def _quantiles(cell: LoadCell) -> dict[float, float]:
    """Milliseconds by share, the median over those repeats that have it; only above zero, for the axis."""
    found: dict[float, list[float]] = {}
    for share, ms in chain.from_iterable(row.quantiles for row in cell.rows):
        if ms > 0:
            found.setdefault(share, []).append(ms)
    return {share: median(found[share]) for share in sorted(found)}
