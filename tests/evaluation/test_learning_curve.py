"""Histories cut to their first rows."""

from pathlib import Path

import polars as pl
import pytest

from tests.evaluation.toy_report import small_set
from userip.evaluation.controls import CONTROLS
from userip.evaluation.learning_curve import FirstRows, first_rows
from userip.training.crossfit.views import FULL
from userip.training.data.dataset import Dataset

SIZES = {"background": 3, "hobby": 4}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A set with held-out users."""
    return small_set(tmp_path_factory.mktemp("curve") / "data")


def test_the_first_rows_are_the_oldest(dataset: Dataset) -> None:
    """Of every user the rows with the lowest times stay, as many as asked for or all."""
    history = dataset.rows("history")
    for most in (1, 5, 1000):
        kept = first_rows(history, most)
        for user, rows in history.group_by("user_id"):
            times = sorted(rows["timestamp"])[:most]
            assert kept.filter(pl.col("user_id") == user[0])["timestamp"].to_list() == times


def test_only_held_out_users_change(dataset: Dataset) -> None:
    """With histories cut, a control's codes of train users stay as they are; a cut behind the end changes nothing."""
    whole = CONTROLS["statistics"](dataset, SIZES, 2, 0, 0).frame
    held = dataset.rows("history")["user_id"].unique()
    for most, same in ((1, False), (1000, True)):
        cut = CONTROLS["statistics"](FirstRows.of(dataset, most), SIZES, 2, 0, 0).frame
        train = ~pl.col("user_id").is_in(held.implode())
        assert cut.filter(train).equals(whole.filter(train))
        assert cut.filter(fold=FULL).equals(whole.filter(fold=FULL)) == same


def test_train_rows_are_not_cut(dataset: Dataset) -> None:
    """Only the part `history` is."""
    few = FirstRows.of(dataset, 1)
    assert few.rows("train").equals(dataset.rows("train"))
    assert few.rows("valid").equals(dataset.rows("valid"))
    assert few.rows("history").height == dataset.rows("history")["user_id"].n_unique()
    assert isinstance(few.path, Path)
