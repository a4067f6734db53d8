"""The commands `userip train`, its steps, and `fold-in`."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from userip.ops.commands import BankOption
from userip.training.config import TrainConfig, load_config
from userip.training.data.dataset import Dataset
from userip.training.methods import DEFAULT, METHODS
from userip.training.run import read_step, run_step, set_up_logging, steps_of

DatasetPath = Annotated[Path, typer.Option("--dataset", help="A data set directory, as `userip prepare` writes it.")]
RunPath = Annotated[Path, typer.Option("--out", help="The run directory. Finished steps in it are kept.")]
Method = Annotated[str | None, typer.Option(help=f"The profile method: {', '.join(METHODS)}; default {DEFAULT}.")]
Preset = Annotated[str, typer.Option(help="quick or default; for some methods also others.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file with settings.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="A setting, as infer.steps=6; repeatable.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, number of threads and kind of CPU: same bytes.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads of torch. 0: one per core.")]

Run = Annotated[Path, typer.Option(help="The run directory whose release is served.")]
Interactions = Annotated[Path, typer.Option(help="Parquet or CSV: user_id, item_id, label or rating, timestamp.")]
PositiveAbove = Annotated[float | None, typer.Option(help="A rating above this is positive. Default: as in training.")]
Keep = Annotated[bool, typer.Option(help="Keep the histories in RUN/fold-in.parquet, to fold into the next release.")]
AllowBadRows = Annotated[
    bool, typer.Option("--allow-bad-rows", help="Continue when over 1 % of the file's rows cannot be read.")
]

FORMULA_FIGURES: Final = {"GAUC": "gauc", "NDCG@10": "ndcg_10", "logloss": "logloss", "AUC": "auc"}


def _command(step: str | None = None) -> Callable[..., None]:
    """The command of a step, or of all of them in turn, which says what came out."""

    def command(
        dataset: DatasetPath,
        out: RunPath,
        preset: Preset = "default",
        method: Method = None,
        config: ConfigFile = None,
        setting: Settings = None,
        seed: Seed = 0,
        threads: Threads = 0,
    ) -> None:
        opened, resolved = _prepare(dataset, preset, config, chosen(setting, method), threads)
        for one in [step] if step else steps_of(resolved):
            run_step(one, opened, out, resolved, seed)
        if step is None:
            _report(out)

    return command


train = _command()
train_lm = _command("language")
infer = _command("infer")
quantize = _command("quantize")
fit = _command("fit")
export = _command("export")


def chosen(settings: list[str] | None, method: str | None) -> list[str]:
    """The settings of the flags `--set` and `--method`."""
    return [*(settings or ()), *([] if method is None else [f"method={method}"])]


def _prepare(
    dataset: Path, preset: str, config: Path | None, settings: list[str], threads: int
) -> tuple[Dataset, TrainConfig]:
    import torch

    set_up_logging()
    if threads:
        torch.set_num_threads(threads)
    return Dataset.open(dataset), load_config(preset, config, settings)


def _report(out: Path) -> None:
    """What came out, in a few lines, and what to do next."""
    fitted = read_step(out / "fit")
    quantized = read_step(out / "quantize")
    if fitted is None or quantized is None:
        return
    test = {name: math.nan if value is None else value for name, value in fitted["figures"]["test"].items()}
    print(
        f"test GAUC {test['gauc']:.4f}, NDCG@5 {test['ndcg_5']:.4f}, NDCG@10 {test['ndcg_10']:.4f}: within a user",
        end="",
    )
    print(f" ({test['ranked_users']:.0f} users; {test['one_label_users']:.0f} with rows of one label left out)")
    print(f"test logloss {test['logloss']:.4f}, ECE {test['ece']:.4f}: how far probabilities are off")
    print(f"test AUC {test['auc']:.4f}: over all users, where knowing who likes more counts too")
    if formula := fitted["figures"].get("formula"):
        said = ", ".join(f"{name} {_figure(formula['test'][key])}" for name, key in FORMULA_FIGURES.items())
        print(f"beside it, with no network and no profile: {formula['name']} with test {said}")
    for facet in quantized["figures"]["facets"]:
        print(f"codebook {facet['name']}: {facet['perplexity']:.1f} of {facet['size']} codes in use")
    print(f"next: userip publish --release {out / 'release'} --bank lmdb://{out.resolve() / 'bank'}")


def _figure(value: float | None) -> str:
    return f"{math.nan if value is None else value:.4f}"


def fold_in(
    run: Run, interactions: Interactions, bank: BankOption, positive_above: PositiveAbove = None,
    allow_bad_rows: AllowBadRows = False, keep: Keep = True,
) -> None:  # fmt: skip
    """Codes of the users of the file, with all else frozen; their records go into the active release."""
    from userip.training.fold_in import fold_in_file

    set_up_logging()
    fold_in_file(run, interactions, bank, positive_above, allow_bad_rows=allow_bad_rows, keep=keep)
