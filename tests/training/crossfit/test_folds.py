"""Which fold a train row belongs to."""

from random import Random

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from userip.training.crossfit.folds import fold_of_rows

ids = st.text(alphabet="abé/ 0", min_size=1, max_size=4)
pairs = st.lists(st.tuples(ids, ids), unique=True, min_size=1, max_size=60)


def _frame(rows: list[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(1, 7), st.integers(0, 3))
def test_folds_are_balanced_within_every_user(rows: list[tuple[str, str]], folds: int, seed: int) -> None:
    """No user has two rows more in one fold than in another, and every fold is in 0 .. folds - 1."""
    frame = _frame(rows)
    fold = fold_of_rows(frame, folds, seed)
    assert fold.dtype == pl.Int8
    for user in frame["user_id"].unique():
        counts = np.bincount(fold.filter(frame["user_id"] == user).to_numpy(), minlength=folds)
        assert len(counts) == folds
        assert counts.max() - counts.min() <= 1


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(1, 5), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows: list[tuple[str, str]], folds: int, random: Random) -> None:
    """A row keeps its fold when the table is shuffled: the recommender may join them in any order."""
    shuffled = list(rows)
    random.shuffle(shuffled)
    first = dict(zip(rows, fold_of_rows(_frame(rows), folds, 1), strict=True))
    assert first == dict(zip(shuffled, fold_of_rows(_frame(shuffled), folds, 1), strict=True))


def test_other_users_do_not_matter() -> None:
    """A user's folds are the same in a table of this user alone."""
    everybody = _frame([(f"u{u}", f"i{i}") for u in range(20) for i in range(9)])
    fold = everybody.with_columns(fold=fold_of_rows(everybody, 4, 0))
    alone = everybody.filter(pl.col("user_id") == "u7")
    assert fold.filter(pl.col("user_id") == "u7")["fold"].to_list() == fold_of_rows(alone, 4, 0).to_list()


def test_seed_and_user_shift_the_folds() -> None:
    """Another seed gives other folds, and single rows of many users do not all land in fold 0."""
    single = _frame([(f"u{u}", "i") for u in range(400)])
    counts = np.bincount(fold_of_rows(single, 4, 0).to_numpy(), minlength=4)
    assert counts.min() > 60  # 100 are expected
    assert fold_of_rows(single, 4, 0).to_list() != fold_of_rows(single, 4, 1).to_list()


def test_without_folds_there_is_one() -> None:
    """folds = 0 puts every row into fold 0."""
    assert fold_of_rows(_frame([("u", "a"), ("u", "b")]), 0, 0).to_list() == [0, 0]
