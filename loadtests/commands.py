"""`userip bench`."""

from pathlib import Path
from typing import Annotated

import typer

from userip.loadtests.scenarios import Preset
from userip.processes import interrupt_on_signals

QUICK_BANKS = (10_000, 1_000_000)


def bench(
    out: Annotated[Path, typer.Option(help="Report directory. Finished scenarios in it are kept.")],
    preset: Annotated[Preset, typer.Option(help="quick: some ten minutes; full: about an hour.")] = "quick",
    dataset: Annotated[
        Path | None, typer.Option(help="Take users and items from this data set directory; else they are made up.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this scenario, or in-process, bank-scale, release-scale; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed: same releases and same requests.")] = 0,
) -> None:
    """Put load on four variants of the service and an echo of it, in turns; write tables, curves and gates.

    It starts its own redis-server and services on free loopback ports.
    """
    from userip.loadtests.bench import IN_PROCESS, BenchConfig, Extra, run_bench
    from userip.loadtests.in_process import measure_all
    from userip.loadtests.scale import bank as bank_scale
    from userip.loadtests.scale import release as release_scale
    from userip.loadtests.variants import build_variants

    extras: dict[str, Extra] = {
        IN_PROCESS: measure_all,
        "bank-scale": lambda _, __, preset: bank_scale.measure(bank_scale.SIZES if preset == "full" else QUICK_BANKS),
        "release-scale": lambda _, __, ___: release_scale.measure(),
    }

    interrupt_on_signals()
    run_bench(BenchConfig(out, preset, dataset, tuple(only or ()), seed), build_variants, extras)
    typer.echo(f"report: {out / 'report.html'}")
