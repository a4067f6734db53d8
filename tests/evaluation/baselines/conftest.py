"""A toy data set in both splits, with the small language model of a run for each."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from tests.training.tiny_run import train
from tests.training.toy import toy_dataset
from userip.training.config import TrainConfig, load_config
from userip.training.data.dataset import Dataset, Split
from userip.training.data.storage import write_dataset

SETTINGS = (
    "language.layers=1",
    "language.width=32",
    "language.heads=2",
    "language.vocabulary=400",
    "language.users=16",
    "language.steps=30",
    "language.dtype='float32'",
)


@dataclass(frozen=True)
class Toy:
    """A data set, a run whose language step is done, and its configuration."""

    dataset: Dataset
    run: Path
    config: TrainConfig

    def with_labels_turned(self, part: str, out: Path) -> Dataset:
        """The same data set, but everybody in `part` says the opposite. It passes for the same split."""
        rows = self.dataset._interactions
        turned = rows.with_columns(label=pl.col("label") ^ (pl.col("split") == part))
        return write_dataset(out, self.dataset.info, turned, self.dataset.items)


def _toy(directory: Path, split: Split) -> Toy:
    dataset = toy_dataset(directory / "set", split=split)
    config = load_config("quick", None, SETTINGS, environment={})
    return Toy(dataset, train(dataset, directory / "run", config, ["language"]), config)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Random split."""
    return _toy(tmp_path_factory.mktemp("baselines-random"), "random")


@pytest.fixture(scope="session")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Users split: a quarter of the users has history rows only."""
    return _toy(tmp_path_factory.mktemp("baselines-users"), "users")
