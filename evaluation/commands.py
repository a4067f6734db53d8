"""`userip evaluate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from userip.training.commands import ConfigFile, DatasetPath, Method, Settings, chosen
from userip.training.run import set_up_logging


def evaluate(
    dataset: DatasetPath,
    out: Annotated[Path, typer.Option("--out", help="The report directory. Finished parts in it are kept.")],
    preset: Annotated[
        Literal["quick", "full"],
        typer.Option(help="full: default settings of training, all recommenders, ablations and sweeps."),
    ] = "full",
    method: Method = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of inference, quantization and recommender.")] = 5,
    runs: Annotated[
        int | None,
        typer.Option(min=1, help="Infer profiles with so many seeds only; seed s takes those of s modulo RUNS."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this section: controls, recommenders, llm, transfer, ablations, sweep. Repeatable."),
    ] = None,
    config: ConfigFile = None,
    setting: Settings = None,
) -> None:
    """The codes against their controls, other recommenders and language models; with intervals, in a report."""
    from userip.evaluation.evaluate import evaluate_dataset

    set_up_logging()
    evaluate_dataset(
        dataset, out, preset, seeds, config, chosen(setting, method), most_runs=runs, only=tuple(only or ())
    )
