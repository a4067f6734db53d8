"""The bench's report, section by section; what was not measured has no section."""

from collections.abc import Mapping, Sequence

from userip.loadtests.gates import Gate
from userip.loadtests.report.caveats import caveats, everything, machine_section
from userip.loadtests.report.cells import load_cells
from userip.loadtests.report.gates import gates_section, headline
from userip.loadtests.report.in_process import per_10k
from userip.loadtests.report.load import comparisons, latency_at_rates, latency_by_candidates, saturation
from userip.loadtests.report.rows import Rows
from userip.loadtests.report.scale import scale
from userip.reporting.blocks import Report


def build_report(rows: Rows, gates: Sequence[Gate], machine: Mapping[str, str], notes: Sequence[str]) -> Report:
    """Headline figures and gates first, then every comparison, caveats, and all figures."""
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
