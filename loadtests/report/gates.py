"""The first screen: the figures that matter most, and the gates."""

from collections.abc import Sequence

from userip.loadtests.gates import Gate
from userip.loadtests.report.cells import LoadCell, by_variant, ratio, settings
from userip.loadtests.report.in_process import SECONDS, STANDARD, paper_ratio, process_cells, standard
from userip.loadtests.report.names import OURS, look, setting
from userip.loadtests.report.rows import InProcessRow, Rows, ScaleRow
from userip.reporting.blocks import Column, Estimate, Headline, Kind, Outcome, Section, Table, Verdict
from userip.reporting.numbers import write_number

VERDICTS = {True: Verdict("ok", "yes"), False: Verdict("missed", "no"), None: Verdict("not measured", "undecided")}


def gates_section(gates: Sequence[Gate], rows: Rows) -> Section:
    """How many gates are met, how many answers were wrong, and the table of all gates."""
    requests, verified, wrong, failed = (
        sum(getattr(row, name) for row in rows.load) for name in ("requests", "verified", "wrong", "failed")
    )
    answer = (
        f"{sum(gate.ok is True for gate in gates)} of {len(gates)} gates are met; of {requests:,} answers {verified:,} "
        f"were verified, {wrong:,} were wrong; {failed:,} requests failed."
    )
    verdict: Outcome = "yes" if gates else "undecided"
    if any(gate.ok is None for gate in gates):
        verdict = "undecided"
    if wrong or any(gate.ok is False for gate in gates):
        verdict = "no"
    columns = (Column("gate"), Column(""), Column("value", "number"), Column("limit", "number"), Column("how measured"))
    table = Table(
        "", columns, tuple((gate.gate, VERDICTS[gate.ok], gate.value, gate.limit, gate.how) for gate in gates)
    )
    return Section("Gates", "", answer, verdict, (table,))


def headline(rows: Rows, cells: Sequence[LoadCell]) -> tuple[Headline, ...]:
    """The paper's measure and its ratios, the greatest throughput, latency, bytes a user: what there is of them."""
    return (*_per_10k(rows.in_process), *_throughput(cells), *_latency(cells), *_bytes(rows.scale))


def _per_10k(rows: Sequence[InProcessRow]) -> list[Headline]:
    at = standard(next(iter(process_cells(rows).values()), []))
    if OURS not in at:
        return []
    size = f"{at[OURS].first.candidates:,} candidates a request"
    found = [_tile(at[OURS].over(SECONDS), "seconds", "UserIP per 10,000 instances", f"{size}; paper 1.21 s")]
    for mine, base in ((OURS, "dcn"), ("kar-online", OURS)):
        if mine in at and base in at:
            about = f"{size}; paper {write_number(paper_ratio(mine, base), 'ratio')}"
            name = f"time of {look(mine).name} against {look(base).name}"
            found.append(_tile(ratio(at[mine], at[base], SECONDS), "ratio", name, about))
    return found


def _throughput(cells: Sequence[LoadCell]) -> list[Headline]:
    """Of the first load that echo was measured under too; the greatest of many would be biased upwards."""
    closed = [cell for cell in cells if cell.first.rate is None and cell.first.candidates == STANDARD]
    for group in map(by_variant, settings(closed)):
        if OURS in group and "echo" in group:
            mine = group[OURS]
            against = _say(ratio(mine, group["echo"], "throughput"), "ratio")
            about = f"{against} of echo; {setting(mine.first, 'route', 'rate', 'generator')}"
            return [_tile(mine.over("throughput"), "count", "requests per second at saturation", about)]
    return []


def _latency(cells: Sequence[LoadCell]) -> list[Headline]:
    """At the highest fixed rate that DCN was measured at too, if there is one."""
    fixed = [cell for cell in cells if cell.first.rate is not None and cell.first.candidates == STANDARD]
    both = [group for group in map(by_variant, settings(fixed)) if OURS in group and "dcn" in group]
    if not both:
        return []
    group = max(both, key=lambda group: (group[OURS].first.rate or 0, len(group[OURS].rows)))
    against = _say(ratio(group[OURS], group["dcn"], "p99_ms"), "ratio")
    about = f"{against} of DCN; median {_say(group[OURS].over('p50_ms'), 'milliseconds')}"
    rate = write_number(group[OURS].first.rate, "number")
    return [_tile(group[OURS].over("p99_ms"), "milliseconds", f"99th percentile at {rate} requests/s", about)]


def _bytes(rows: Sequence[ScaleRow]) -> list[Headline]:
    """A user in the largest Redis bank."""
    known = [row for row in rows if row.bytes_per_user is not None and row.bank == "redis"]
    if not known:
        return []
    most = max(known, key=lambda row: row.users)
    same = [row.bytes_per_user or 0 for row in known if (row.users, row.slots) == (most.users, most.slots)]
    return [
        Headline(
            f"{write_number(sum(same) / len(same), 'number')} bytes", "a user in Redis", f"at {most.users:,} users"
        )
    ]


def _tile(estimate: Estimate | None, kind: Kind, name: str, about: str) -> Headline:
    return Headline(_say(estimate, kind), name, about)


def _say(estimate: Estimate | None, kind: Kind) -> str:
    """The median alone."""
    return write_number(estimate.mean if estimate else None, kind)
