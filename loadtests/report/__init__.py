"""What the bench leaves for people and programs.

latency.json   the rows as given, one a line
report.md, report.html   headline figures, gates, comparisons and curves, the same in both
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from userip.files import json_text, write_text
from userip.loadtests.gates import Gate
from userip.loadtests.report.caveats import caveats, everything, machine_section
from userip.loadtests.report.cells import load_cells
from userip.loadtests.report.gates import gates_section, headline
from userip.loadtests.report.in_process import per_10k
from userip.loadtests.report.load import comparisons, latency_at_rates, latency_by_candidates, saturation
from userip.loadtests.report.rows import Rows, read_rows
from userip.loadtests.report.scale import scale
from userip.reporting.blocks import Report
from userip.reporting.markdown import markdown
from userip.reporting.page import html


def write_report(
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    gates: Sequence[Gate],
    machine: Mapping[str, str],
    notes: Sequence[str],
) -> None:
    """Write latency.json, report.md and report.html to `out`; the same input gives the same bytes.

    rows: as `loadtests.report.rows` reads them; further keys of a row stand in latency.json only
    machine: facts to show (CPU, cores, versions, date, commit), in their order; notes: sentences about this run

    Raises BenchInputError, before anything is written, for a row that lacks a key or has an impossible value.
    """
    report = build_report(read_rows(rows), gates, machine, notes)
    lines = ",\n".join(json_text(row, indent=None) for row in rows)
    texts = {"latency.json": f"[\n{lines}\n]\n", "report.md": markdown(report), "report.html": html(report)}
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(out / name, text)


def build_report(rows: Rows, gates: Sequence[Gate], machine: Mapping[str, str], notes: Sequence[str]) -> Report:
    """Headline figures and gates first, then every comparison, caveats, all figures; what was not measured has none."""
    cells = load_cells(rows.load)
    return Report(
        "UserIP under load",
        "The same service code with four methods behind it, and a route that only echoes.",
        (
            gates_section(gates, rows),
            *per_10k(rows.in_process),
            *saturation(cells),
            *latency_at_rates(cells),
            *latency_by_candidates(cells),
            *comparisons(cells),
            *scale(rows.scale, rows.releases),
            *caveats(cells, notes),
            *everything(cells),
            *machine_section(machine),
        ),
        headline=headline(rows, cells),
    )
