"""Fold-in: frozen models give new users the codes that training would have given them, and touch nobody else."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from bank.manifest import read_manifest
from bank.protocol import Bank
from bank.record import Record
from bank.urls import open_bank
from tests.training.tiny_run import HASTE, contents, easy_set, one_thread, tiny_config, train
from training.data.dataset import Dataset
from training.errors import ConfigError, DataError
from training.export.publish import publish_release
from training.fold_in import fold_in, fold_in_file
from training.run import STEPS

pytestmark = pytest.mark.slow


class Served(NamedTuple):
    """A run whose release is active in a bank of its own."""

    dataset: Dataset
    run: Path
    url: str
    bank: Bank

    @property
    def release(self) -> str:
        return read_manifest(self.run / "release").release

    def record(self, user: str) -> Record:
        (found,) = self.bank.get_many(self.release, [user])
        assert isinstance(found, Record)
        return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    """A run with held-out users, whose codes rest on their histories."""
    directory = tmp_path_factory.mktemp("fold-in")
    dataset = easy_set(directory / "data", users=80, split="users")
    return dataset, train(dataset, directory / "run", tiny_config(directory, *HASTE), list(STEPS))


@pytest.fixture
def served(trained: tuple[Dataset, Path], tmp_path: Path) -> Iterator[Served]:
    """The run's release, active in a fresh bank."""
    url = f"lmdb://{tmp_path}/bank"
    bank = open_bank(url)
    publish_release(trained[1] / "release", bank)
    yield Served(*trained, url, bank)
    bank.close()


def test_the_same_history_gets_the_same_codes(trained: tuple[Dataset, Path]) -> None:
    """Held-out users folded in from their history have the codes of codes.parquet, and nothing of the run changes."""
    dataset, run = trained
    before = contents(run)
    rows = dataset.rows("history")
    with one_thread():
        codes = fold_in(run, rows)
    known = pl.read_parquet(run / "quantize" / "codes.parquet").filter(pl.col("fold") == -1)
    both = codes.join(known, on="user_id", suffix="_trained")
    assert both.height == rows["user_id"].n_unique() >= 15
    for facet in ("hobby", "background"):
        assert (both[facet] == both[f"{facet}_trained"]).all()
    assert contents(run) == before


def test_a_changed_user_keeps_the_row_and_gets_new_codes(served: Served, tmp_path: Path) -> None:
    """A user of the recommender with a turned taste: same row, other codes; the other users' records stay."""
    everybody = [user for (user,) in served.dataset.rows("train").select("user_id").unique(maintain_order=True).rows()]
    before = {user: served.record(user) for user in everybody}
    user = everybody[0]
    rows = served.dataset.rows("train").filter(pl.col("user_id") == user)
    rows.select("user_id", "item_id", "timestamp", label=~pl.col("label")).write_csv(tmp_path / "turned.csv")
    with one_thread():
        assert fold_in_file(served.run, tmp_path / "turned.csv", served.url, None) == 1
    assert served.record(user).row == before[user].row > 0
    assert served.record(user).codes != before[user].codes
    assert {other: served.record(other) for other in everybody[1:]} == {other: before[other] for other in everybody[1:]}


def test_a_user_without_a_known_item_is_told_and_not_written(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ratings count by the run's own threshold; who has no item of the catalogue stays unknown, by name in the log."""
    item = served.dataset.items["item_id"][0]
    (tmp_path / "new.csv").write_text(f"user_id,item_id,rating\nnew,{item},5\nlost,no-such-item,5\n")
    with one_thread():
        assert fold_in_file(served.run, tmp_path / "new.csv", served.url, None) == 1
    assert served.record("new").row == 0
    assert served.bank.get_many(served.release, ["lost"]) == [None]
    assert any("no profile for 1 users" in line and "lost" in line for line in caplog.messages)


def test_another_active_release_is_left_alone(served: Served, tmp_path: Path) -> None:
    """A bank that serves another release than the run's is refused with what to do; nobody is written."""
    served.bank.publish("other", [], np.zeros(0, np.uint32), np.zeros((0, 2), np.uint16))
    served.bank.activate("other")
    item = served.dataset.items["item_id"][0]
    (tmp_path / "new.csv").write_text(f"user_id,item_id,label\nnew,{item},true\n")
    with pytest.raises(ConfigError, match=r"its active release is other, .*; run `userip publish"):
        fold_in_file(served.run, tmp_path / "new.csv", served.url, None)
    assert served.bank.get_many(served.release, ["new"]) == [None]


def test_an_empty_file_is_named(served: Served, tmp_path: Path) -> None:
    """Nothing to fold in is an input error, exit code 2."""
    (tmp_path / "new.csv").write_text("user_id,item_id,label\n")
    with pytest.raises(DataError, match=r"new\.csv: no interactions in it"):
        fold_in_file(served.run, tmp_path / "new.csv", served.url, None)
