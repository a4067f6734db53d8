"""The commands `userip train`, its five steps, `publish`, `infer-new` and `evaluate`."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from bank.commands import BankOption
from bank.protocol import Bank
from training.config import TrainConfig, load_config
from training.data.dataset import Dataset
from training.run import STEPS, read_step, run_step, set_up_logging

DatasetPath = Annotated[Path, typer.Option("--dataset", help="A data set directory, as `userip prepare` writes it.")]
RunPath = Annotated[Path, typer.Option("--out", help="The run directory. Finished steps in it are kept.")]
Preset = Annotated[str, typer.Option(help="quick, default (also: practical), paper or released.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file with settings.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="One setting, as infer.steps=6. Repeatable.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed and as many threads on such a CPU: same bytes.")]
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


def publish(
    release: Annotated[Path, typer.Option(help="A release directory: RUN/release.")],
    bank: BankOption,
    activate: Annotated[bool, typer.Option(help="Move the active pointer to it afterwards.")] = True,
) -> None:
    """Records beside the old ones, verified, then the pointer; of the active release, records that were lost."""
    from bank.errors import UnknownReleaseError
    from bank.manifest import read_manifest
    from bank.urls import open_bank, redact
    from training.export.publish import publish_release

    opened = open_bank(bank)
    try:
        name = read_manifest(release).release
        if opened.active() == name:
            with contextlib.suppress(UnknownReleaseError):  # a pointer to a release that was lost: it is written anew
                print(_complete(release, opened, name))
                return
        manifest = publish_release(release, opened, activate)
    finally:
        opened.close()
    state = "active" if activate else "published, not active"
    print(f"{manifest.release}: {manifest.users:,} users {state}")
    serve = f"userip serve --release {release} --bank {redact(bank)}"
    print(f"next: {serve if activate else f'userip activate --bank {redact(bank)} {manifest.release}'}")


def _complete(release: Path, bank: Bank, name: str) -> str:
    """Write what the bank has lost of the active release `name`, and say so."""
    from training.export.publish import restore_release

    # A release's name holds the hash of its content: the same name is the same records, and users may have
    # been folded in since.
    lost = bank.lost(name)
    if not lost:
        return f"{name}: active already, nothing to do"
    done = restore_release(release, bank)
    said = f"{name}: active already; {lost:,} records were lost, {done.written:,} written again"
    if done.gone:
        said += f"; {done.gone:,} were of users folded in since: run `userip infer-new` for them again"
    return said


def infer_new(
    run: Annotated[Path, typer.Option(help="The run directory whose release is served.")],
    interactions: Annotated[Path, typer.Option(help="Parquet or CSV: user_id, item_id, label or rating, timestamp.")],
    bank: BankOption,
    positive_above: Annotated[
        float | None, typer.Option(help="A rating above this is positive. Default: as in training.")
    ] = None,
    allow_bad_rows: Annotated[
        bool, typer.Option("--allow-bad-rows", help="Go on when over 1 % of the file's rows cannot be read.")
    ] = False,
) -> None:
    """E steps alone, codebooks frozen, for the users of the file; their records go into the active release."""
    from training.fold_in import fold_in_file

    set_up_logging()
    fold_in_file(run, interactions, bank, positive_above, allow_bad_rows=allow_bad_rows)


def evaluate(
    dataset: DatasetPath,
    out: Annotated[Path, typer.Option("--out", help="The report directory. What was made there before is kept.")],
    preset: Annotated[
        Literal["quick", "full"],
        typer.Option(help="full: default settings of training, all recommenders, ablations and sweeps."),
    ] = "full",
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
    from training.evaluation.evaluate import evaluate_dataset

    set_up_logging()
    evaluate_dataset(dataset, out, preset, seeds, config, setting or (), most_runs=runs, only=tuple(only or ()))
