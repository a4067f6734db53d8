"""The program `python -m userip.loadtests.in_process`: variants and banks of its own, figures as text and JSON."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from userip.files import write_text
from userip.loadtests.gates import IN_PROCESS, RATIOS, Gate
from userip.loadtests.in_process import SIZES, Row, measure, spread
from userip.loadtests.scenarios import Preset
from userip.loadtests.servers.redis_server import RedisServer
from userip.loadtests.variants import NAMES, build_variants


def run(
    preset: Annotated[str, typer.Option(help="quick or full.")] = "quick",
    dataset: Annotated[Path | None, typer.Option(help="A data set directory; default: a synthetic shop.")] = None,
    users: Annotated[int, typer.Option(min=10, help="Users of the synthetic shop.")] = 20_000,
    items: Annotated[int, typer.Option(min=10, help="Items of the synthetic shop.")] = 10_000,
    variant: Annotated[list[str] | None, typer.Option(help="Measure only these; may be repeated.")] = None,
    candidates: Annotated[list[int] | None, typer.Option(min=1, help="Per request; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the rows.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Measure, print a table per scenario, then the gates."""
    if preset not in ("quick", "full"):
        raise typer.BadParameter(f"--preset {preset}: quick or full")
    chosen: Preset = "full" if preset == "full" else "quick"
    sizes = tuple(candidates or SIZES)
    with tempfile.TemporaryDirectory(prefix="userip-in-process-") as place, RedisServer() as server:
        built = build_variants(dataset, Path(place), variant or NAMES, seed, users=users, items=items)
        releases = {name: one.release for name, one in built.items()}
        rows = measure(releases, server.url, chosen, sizes=sizes, seed=seed)
        rows += measure(releases, f"lmdb://{place}/bank", chosen, sizes=sizes, caches=("off",), seed=seed)
    print(table(rows))
    for gate in judge(rows):
        verdict = {True: "met", False: "MISSED", None: "open"}[gate.ok]
        value = "-" if gate.value is None else f"{gate.value:.3f}"
        print(f"{verdict:7} {gate.gate} {gate.limit}: {value} ({gate.how})")
    if out is not None:
        write_text(out, json.dumps(rows, indent=1))


def judge(rows: Sequence[Row]) -> list[Gate]:
    """The bench's in-process gates, for every way of looking up that the rows have."""
    bounds = [bound for bound in RATIOS if bound.upper.scenario == IN_PROCESS]
    return [way.judge(rows) for bound in bounds for way in bound.ways(rows)]


def table(rows: Sequence[Row]) -> str:
    """Seconds per 10,000 instances as text, a line per variant, a column per number of candidates."""
    sizes = sorted({row["candidates"] for row in rows})
    lines = []
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        head = "".join(f"{size:>26,}" for size in sizes)
        lines.append(f"{scenario}: seconds per 10,000 instances by candidates, median (least .. most)\n{'':16}{head}")
        for name in dict.fromkeys(row["variant"] for row in rows if row["scenario"] == scenario):
            cells = []
            for size in sizes:
                key = (scenario, name, size)
                mine = [r["seconds_per_10k"] for r in rows if (r["scenario"], r["variant"], r["candidates"]) == key]
                cells.append("{:.5f} ({:.5f}..{:.5f})".format(*spread(mine)))
            lines.append(f"{name:16}" + "".join(f"{cell:>26}" for cell in cells))
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Run; errors that a person can mend come as one line."""
    try:
        typer.run(run)
    except Exception as error:
        if not (code := getattr(error, "exit_code", 0)):
            raise
        print(f"in_process: {error}", file=sys.stderr)
        sys.exit(code)
