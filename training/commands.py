"""The commands `userip train`, its five steps, and `infer-new`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from userip.ops.commands import BankOption
from userip.training.config import TrainConfig, load_config
from userip.training.data.dataset import Dataset
from userip.training.run import STEPS, read_step, run_step, set_up_logging

DatasetPath = Annotated[Path, typer.Option("--dataset", help="A data set directory, as `userip prepare` writes it.")]
RunPath = Annotated[Path, typer.Option("--out", help="The run directory. Finished steps in it are kept.")]
Preset = Annotated[str, typer.Option(help="quick, default (also: practical), paper or released.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file with settings.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="A setting, as infer.steps=6; repeatable.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, number of threads and kind of CPU: same bytes.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads of torch. 0: one per core.")]


def _command(*steps: str) -> Callable[..., None]:
    """A command that does `steps` in turn; after all of them it says what came out."""

    def command(
        dataset: DatasetPath,
        out: RunPath,
        preset: Preset = "default",
        config: ConfigFile = None,
        setting: Settings = None,
        seed: Seed = 0,
        threads: Threads = 0,
    ) -> None:
        opened, resolved = _prepare(dataset, preset, config, setting, threads)
        for step in steps:
            run_step(step, opened, out, resolved, seed)
        if len(steps) == len(STEPS):
            _report(out, dataset)

    return command


train = _command(*STEPS)
language = _command("language")
infer = _command("infer")
quantize = _command("quantize")
fit = _command("fit")
export = _command("release")


def _prepare(
    dataset: Path, preset: str, config: Path | None, setting: list[str] | None, threads: int
) -> tuple[Dataset, TrainConfig]:
    import torch

    set_up_logging()
    if threads:
        torch.set_num_threads(threads)
    return Dataset.open(dataset), load_config(preset, config, setting or ())


def _report(out: Path, dataset: Path) -> None:
    """What came out, in a few lines, and what to do next."""
    fitted = read_step(out / "fit")
    quantized = read_step(out / "quantize")
    if fitted is None or quantized is None:
        return
    test = fitted["figures"]["test"]
    print(f"test AUC {test['auc']:.4f}, logloss {test['logloss']:.4f}")
    for facet in quantized["figures"]["facets"]:
        print(f"codebook {facet['name']}: {facet['perplexity']:.1f} of {facet['size']} codes in use")
    print(f"next: userip publish --release {out / 'release'} --bank lmdb://{out.resolve() / 'bank'}")


def infer_new(
    run: Annotated[Path, typer.Option(help="The run directory whose release is served.")],
    interactions: Annotated[Path, typer.Option(help="Parquet or CSV: user_id, item_id, label or rating, timestamp.")],
    bank: BankOption,
    positive_above: Annotated[
        float | None, typer.Option(help="A rating above this is positive. Default: as in training.")
    ] = None,
    allow_bad_rows: Annotated[
        bool, typer.Option("--allow-bad-rows", help="Continue when over 1 % of the file's rows cannot be read.")
    ] = False,
) -> None:
    """E steps alone, codebooks frozen, for the users of the file; their records go into the active release."""
    from userip.training.fold_in import fold_in_file

    set_up_logging()
    fold_in_file(run, interactions, bank, positive_above, allow_bad_rows=allow_bad_rows)
