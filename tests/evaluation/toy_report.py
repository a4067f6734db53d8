"""A small evaluation that takes seconds: a simulated set, profiles in haste, fits of two epochs."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl

from tests.training.tiny_run import HASTE, SETTINGS, config_file, easy_set
from userip.evaluation.evaluate import evaluate_dataset
from userip.evaluation.results import Results
from userip.release.manifest import sha256_of
from userip.training.data.dataset import INFO, INTERACTIONS, Dataset
from userip.training.threads import one_thread

SEEDS = 2


def small_set(out: Path, seed: int = 1) -> Dataset:
    """60 users, some of them held out."""
    return easy_set(out, users=60, split="users", seed=seed)


def evaluate_quickly(directory: Path, dataset: Path, out: Path, *settings: str) -> Results:
    """The preset `quick`, in this process."""
    with one_thread():
        return evaluate_dataset(
            dataset, out, "quick", SEEDS, config_file(directory), (*SETTINGS, *HASTE, "fit.epochs=2", *settings),
            workers=1,
        )  # fmt: skip


def with_other_test_labels(dataset: Path) -> None:
    """Turn every test label round, and the ratings; the directory stays one that opens."""
    test = pl.col("split") == "test"
    rewrite(
        dataset,
        lambda rows: rows.with_columns(
            label=pl.when(test).then(~pl.col("label")).otherwise(pl.col("label")),
            rating=pl.when(test).then(-pl.col("rating")).otherwise(pl.col("rating")),
        ),
    )


def rewrite(dataset: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change the interactions behind the back of `prepare`; the directory stays one that opens."""
    file = dataset / INTERACTIONS
    change(pl.read_parquet(file)).write_parquet(file)
    info = json.loads((dataset / INFO).read_bytes())
    info["files"][INTERACTIONS] = sha256_of(file)
    (dataset / INFO).write_text(json.dumps(info))
