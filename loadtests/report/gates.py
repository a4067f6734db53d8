"""The first screen: the figures that matter most, and the gates."""

from collections.abc import Sequence

from userip.loadtests.report.cells import LoadCell, ProcessCell, by_variant, process_cells, ratio, settings
from userip.loadtests.report.rows import Gate, Rows
from userip.loadtests.report.wording import OURS, PAPER, look, say, setting
from userip.reporting.blocks import Column, Estimate, Headline, Kind, Outcome, Section, Table, Verdict
from userip.reporting.numbers import write_number

STANDARD = 100
"""Candidates of a request where one number has to stand for all."""


def gates_section(gates: Sequence[Gate], rows: Rows) -> Section:
    """How many gates are met, which are missed, and the table of all of them."""
    missed = [gate.gate for gate in gates if gate.ok is False]
    unknown = [gate.gate for gate in gates if gate.ok is None]
    told = [f"{sum(gate.ok is True for gate in gates)} of {len(gates)} gates are met"]
    told += [f"missed: {', '.join(missed)}"] if missed else []
    told += [f"not measured: {', '.join(unknown)}"] if unknown else []
    counts = {
        name: sum(getattr(row, name) for row in rows.load) for name in ("requests", "verified", "wrong", "failed")
    }
    under = (
        "{requests:,} requests answered, {verified:,} of them verified under load: {wrong:,} wrong, {failed:,} failed."
    )
    table = Table(
        "",
        (Column("gate"), Column(""), Column("value", "number"), Column("limit", "number"), Column("how measured")),
        tuple((gate.gate, _verdict(gate.ok), gate.value, gate.limit, gate.how) for gate in gates),
    )
    verdict: Outcome = "no" if missed or counts["wrong"] else "undecided" if unknown or not gates else "yes"
    return Section("Gates", "", f"{'; '.join(told)}. {under.format(**counts)}", verdict, (table,))


def _verdict(ok: bool | None) -> Verdict:
    if ok is None:
        return Verdict("not measured", "undecided")
    return Verdict("ok", "yes") if ok else Verdict("missed", "no")


def headline(rows: Rows, cells: Sequence[LoadCell]) -> tuple[Headline, ...]:
    """The paper's measure and its ratios, the greatest throughput, latency, bytes a user: what there is of them."""
    return (
        *_per_10k(next(iter(process_cells(rows.in_process).values()), [])),
        *_throughput(cells),
        *_latency(cells),
        *_bytes(rows),
    )


def standard(cells: Sequence[ProcessCell]) -> dict[str, ProcessCell]:
    """The variants at the standard number of candidates, else at the least that UserIP was measured with."""
    sizes = sorted({cell.first.candidates for cell in cells if cell.first.variant == OURS})
    size = STANDARD if STANDARD in sizes else next(iter(sizes), STANDARD)
    return by_variant(cell for cell in cells if cell.first.candidates == size)


def _per_10k(cells: Sequence[ProcessCell]) -> list[Headline]:
    at = standard(cells)
    if OURS not in at:
        return []
    size = f"{at[OURS].first.candidates:,} candidates a request"
    found = [_tile(at[OURS].over("seconds_per_10k"), "seconds", "UserIP per 10,000 instances", f"{size}; paper 1.21 s")]
    for mine, base in ((OURS, "dcn"), ("kar-online", OURS)):
        if mine in at and base in at:
            paper = write_number(PAPER[mine] / PAPER[base], "ratio")
            name = f"time of {look(mine).name} against {look(base).name}"
            found.append(_tile(ratio(at[mine], at[base], "seconds_per_10k"), "ratio", name, f"{size}; paper {paper}"))
    return found


def _throughput(cells: Sequence[LoadCell]) -> list[Headline]:
    """Of the load that was measured first with echo beside it: the greatest would be whatever erred upwards."""
    closed = [cell for cell in cells if cell.first.rate is None and cell.first.candidates == STANDARD]
    beside_echo = [found for group in settings(closed) if {OURS, "echo"} <= set(found := by_variant(group))]
    if not beside_echo:
        return []
    mine, echo = (beside_echo[0][name] for name in (OURS, "echo"))
    against = say(ratio(mine, echo, "throughput"), "ratio")
    about = f"{against} of echo; {setting(mine.first, 'route', 'rate', 'generator')}"
    return [_tile(mine.over("throughput"), "count", "requests per second at saturation", about)]


def _latency(cells: Sequence[LoadCell]) -> list[Headline]:
    """At the highest fixed rate that DCN bore as well, if there is one."""
    fixed = [cell for cell in cells if cell.first.rate is not None and cell.first.candidates == STANDARD]
    both = [by_variant(group) for group in settings(fixed)]
    both = [group for group in both if OURS in group and "dcn" in group]
    if not both:
        return []
    group = max(both, key=lambda group: (group[OURS].first.rate or 0, len(group[OURS].rows)))
    against = say(ratio(group[OURS], group["dcn"], "p99_ms"), "ratio")
    about = f"{against} of DCN; median {say(group[OURS].over('p50_ms'), 'milliseconds')}"
    rate = write_number(group[OURS].first.rate, "number")
    return [_tile(group[OURS].over("p99_ms"), "milliseconds", f"99th percentile at {rate} requests/s", about)]


def _bytes(rows: Rows) -> list[Headline]:
    known = [row for row in rows.scale if row.bytes_per_user is not None and row.bank == "redis"]
    if not known:
        return []
    most = max(known, key=lambda row: row.users)
    same = [row.bytes_per_user for row in known if (row.users, row.slots) == (most.users, most.slots)]
    mean = sum(value or 0 for value in same) / len(same)
    return [Headline(f"{write_number(mean, 'number')} bytes", "a user in Redis", f"at {most.users:,} users")]


def _tile(estimate: Estimate | None, kind: Kind, name: str, about: str) -> Headline:
    return Headline(say(estimate, kind), name, about)
