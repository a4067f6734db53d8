"""The service under load: throughput, latency, and what the cache, workers and generators change."""

from collections.abc import Sequence
from itertools import chain
from statistics import median
from typing import Any

from userip.loadtests.report.cells import LoadCell, by_variant, ratio, settings, varying
from userip.loadtests.report.names import RATIOS, look, order, setting
from userip.loadtests.report.tables import FAILED, LATENCIES, THROUGHPUT, Value, against, cells_table, curves, figure
from userip.reporting.blocks import Block, Column, IntervalRow, Intervals, Kind, Lines, Section, Series, Table

MS: Kind = "milliseconds"
PERCENTILES = {
    "p50_ms": "Median latency",
    "p95_ms": "95th percentile of latency",
    "p99_ms": "99th percentile of latency",
}
AXES = {"rate": "requests per second", "candidates": "candidates of a request"}
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
_FIRST = ("own", "off", "cold", "warm")


def saturation(cells: Sequence[LoadCell]) -> list[Section]:
    """Throughput of every closed loop, and its ratio to echo under the same load."""
    groups = settings([cell for cell in cells if cell.first.rate is None])
    if not groups:
        return []
    # The other generators have their own section; loads of one variant alone are in the table of all figures.
    generator = cells[0].first.generator
    shown = [group for group in groups if len(by_variant(group)) > 1 and group[0].first.generator == generator]
    columns = (
        THROUGHPUT,
        (Column("to echo", "ratio"), against("echo", "throughput")),
        *LATENCIES,
        (Column("CPU", "percent"), figure("server_cpu")),
        FAILED,
    )
    table = cells_table("Closed loops", _titled(shown), columns, f"{RATIOS} CPU is of one core.")
    compared = [group for group in shown if "echo" in by_variant(group)]
    return [Section("Saturation", blocks=(*([_throughput(compared)] if compared else []), table))]


def latency_at_rates(cells: Sequence[LoadCell]) -> list[Section]:
    """Curves over the rate, a distribution for each route, and all fixed rates with the ratio to DCN."""
    fixed = [cell for cell in cells if cell.first.rate is not None]
    if not fixed:
        return []
    groups = sorted(settings(fixed), key=lambda group: (setting(group[0].first, "rate"), group[0].first.rate or 0))
    found: list[Block] = []
    widest = max(settings(fixed, "rate"), key=lambda group: (_most(group, "rate"), len(group)))
    if _most(widest, "rate") > 1:
        found += [_curves(widest, "rate", name) for name in PERCENTILES]
    found += _distributions(groups)
    shown = [group for group in groups if len(by_variant(group)) > 1]
    if shown:
        columns = (*LATENCIES, (Column("p99 to DCN", "ratio"), against("dcn", "p99_ms")), FAILED)
        found.append(cells_table("Variants at the same rate", _titled(shown), columns, RATIOS))
    return [Section("Latency at fixed rates", blocks=tuple(found))]


def latency_by_candidates(cells: Sequence[LoadCell]) -> list[Section]:
    """Percentiles over the candidates of a request: at one fixed rate, or else in closed loops."""
    groups = [group for group in settings(cells, "candidates") if _most(group, "candidates") > 1]
    if not groups:
        return []
    by_size = sorted(groups, key=lambda group: (_most(group, "candidates"), len(group)), reverse=True)
    fixed = next((group for group in by_size if group[0].first.rate is not None), by_size[0])
    closed = next((group for group in by_size if group[0].first.rate is None), None)
    found = [_curves(fixed, "candidates", name) for name in ("p50_ms", "p99_ms")]
    found += [_curves(closed, "candidates", "throughput")] if closed else []
    return [Section("Number of candidates", blocks=tuple(found))]


def comparisons(cells: Sequence[LoadCell]) -> list[Section]:
    """Loads that differ in nothing but the cache, the workers, or the generator: its errors would show."""
    found = {
        "Cache and workers": [
            *_compared(cells, "cache", "Cache off, cold and warm"), *_compared(cells, "workers", "Workers"),
        ],
        "Generators": _compared(cells, "generator", "The same load from different generators"),
    }  # fmt: skip
    return [Section(title, blocks=tuple(tables)) for title, tables in found.items() if tables]


def _titled(groups: Sequence[Sequence[LoadCell]]) -> list[tuple[str, Sequence[LoadCell]]]:
    scenarios = [", ".join(dict.fromkeys(cell.first.scenario for cell in group)) for group in groups]
    return [(f"{name}: {setting(group[0].first)}", group) for name, group in zip(scenarios, groups, strict=True)]


def _throughput(groups: Sequence[Sequence[LoadCell]]) -> Intervals:
    rows = []
    for group in groups:
        first = group[0].first
        for cell in sorted(by_variant(group).values(), key=lambda cell: order(cell.first.variant)):
            if found := cell.over("throughput"):
                name = f"{first.scenario}, {first.candidates:,} candidates"
                rows.append(IntervalRow(look(cell.first.variant).name, found.mean, found.low, found.high, name))
    return Intervals("Requests per second at saturation", "requests/s", tuple(rows), (), "count")


def _most(group: Sequence[LoadCell], name: str) -> int:
    """The most values of `name` that any one variant has."""
    values: dict[str, set[float]] = {}
    for cell in group:
        values.setdefault(cell.first.variant, set()).add(getattr(cell.first, name))
    return max(len(found) for found in values.values())


def _curves(group: Sequence[LoadCell], by: str, name: str) -> Lines:
    title, kind = (PERCENTILES[name], MS) if name in PERCENTILES else ("Requests per second", "count")
    labels = (AXES[by], "latency" if kind == MS else "requests/s")
    where = f"{setting(group[0].first, by)}."
    return curves(group, by, name, f"{title} by {AXES[by]}", labels, kind, where, log_x=by == "candidates")


def _distributions(groups: Sequence[Sequence[LoadCell]]) -> list[Lines]:
    """For each route the fixed rate that the most variants were measured at; the highest of those."""
    routes: dict[str, list[Sequence[LoadCell]]] = {}
    for group in groups:
        known = [cell for cell in group if any(row.quantiles for row in cell.rows)]
        if known:
            routes.setdefault(known[0].first.route, []).append(known)
    best = [max(found, key=lambda one: (len(by_variant(one)), one[0].first.rate or 0)) for found in routes.values()]
    best.sort(key=lambda group: -len(by_variant(group)))
    return [_percentiles(list(by_variant(group).values())) for group in best]


def _percentiles(cells: Sequence[LoadCell]) -> Lines:
    """Milliseconds by share of requests, the median over those repeats that have it."""
    variants = sorted((cell.first.variant for cell in cells), key=order)
    series = []
    for cell in sorted(cells, key=lambda cell: order(cell.first.variant)):
        at: dict[float, list[float]] = {}
        for share, ms in chain.from_iterable(row.quantiles for row in cell.rows):
            if share in SHARES and ms > 0:
                at.setdefault(share, []).append(ms)
        looks, shares = look(cell.first.variant, variants), sorted(at)
        names = [f"{100 * share:g} %" for share in shares]
        series.append(Series(looks.name, names, [median(at[share]) for share in shares], hue=looks.hue))
    return Lines(
        "Latency by share of requests", "share of requests answered within it", "latency", tuple(series), kind=MS,
        log_y=True, note=f"{setting(cells[0].first)}. Median over the repeats at every share.",
    )  # fmt: skip


def _compared(cells: Sequence[LoadCell], name: str, title: str) -> list[Table]:
    """Throughput and latency of loads that differ in `name`, each against the first of its variant."""
    groups = [
        (setting(group[0].first, name), sorted(group, key=lambda cell: _place(getattr(cell.first, name))))
        for group in varying(cells, name)
    ]
    columns: tuple[tuple[Column, Value], ...] = (
        (Column(name), lambda cell, _: str(getattr(cell.first, name))),
        THROUGHPUT,
        (Column("to the first", "ratio"), lambda cell, group: ratio(cell, group[cell.first.variant], "throughput")),
        LATENCIES[0],
        LATENCIES[2],
    )
    return [cells_table(title, groups, columns, RATIOS)] if groups else []


def _place(value: Any) -> tuple[int, str]:  # noqa: ANN401  (a number of workers, or a word)
    return (_FIRST.index(value) if value in _FIRST else value if isinstance(value, int) else len(_FIRST), str(value))
