from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.data.small_sets import random_rows, raw_of
from userip.training.data.dataset import Split
from userip.training.data.splits import add_split
from userip.training.errors import DataError, EmptyDataError

RULES: Sequence[Split] = ("random", "temporal", "users", "items")


def interactions(users: int, items: int, per_user: int, seed: int) -> pl.DataFrame:
    return raw_of(random_rows(users, items, min(per_user, items), seed)).interactions


tables = st.builds(
    interactions,
    users=st.integers(10, 40),
    items=st.integers(4, 30),
    per_user=st.integers(4, 9),
    seed=st.integers(0, 10_000),
)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=25, deadline=None)
@given(table=tables, seed=st.integers(0, 5))
def test_every_row_is_in_exactly_one_part_whatever_the_order(rule: Split, table: pl.DataFrame, seed: int) -> None:
    """The split keeps every row once, and shuffling the input changes nothing."""
    split = add_split(table, rule, seed)
    key = ("user_id", "item_id")
    assert split.drop("split").equals(table.sort(key))
    parts = {"train", "valid", "test", "history"} if rule == "users" else {"train", "valid", "test"}
    assert set(split["split"]) == parts
    assert add_split(table.sample(fraction=1.0, shuffle=True, seed=1), rule, seed).equals(split)


@settings(max_examples=40, deadline=None)
@given(table=tables, seed=st.integers(0, 5))
def test_random_keeps_a_train_row_for_every_user_and_item(table: pl.DataFrame, seed: int) -> None:
    """No user and no item is without a train row."""
    train = add_split(table, "random", seed).filter(pl.col("split") == "train")
    assert train["user_id"].n_unique() == table["user_id"].n_unique()
    assert train["item_id"].n_unique() == table["item_id"].n_unique()


def test_random_has_eight_to_one_to_one() -> None:
    """With enough rows per user the shares are exact, and seeds differ."""
    table = interactions(200, 100, 30, 0)
    sizes = dict(add_split(table, "random", 0)["split"].value_counts().iter_rows())
    assert sizes == {"train": 4800, "valid": 600, "test": 600}
    assert not add_split(table, "random", 1).equals(add_split(table, "random", 0))


@settings(max_examples=25, deadline=None)
@given(table=tables)
def test_temporal_cuts_once_for_all(table: pl.DataFrame) -> None:
    """Every train row is before every valid row, and these before every test row, in shares of 8:1:1."""
    split = add_split(table, "temporal", 0)
    times = {part: split.filter(pl.col("split") == part)["timestamp"].to_numpy() for part in set(split["split"])}
    assert times["train"].max() < times["valid"].min()
    assert times["valid"].max() < times["test"].min()
    assert abs(times["test"].size - 0.1 * table.height) <= 1
    assert abs(times["valid"].size - 0.1 * table.height) <= 1


def test_temporal_never_divides_rows_of_one_moment() -> None:
    """With days as times, a day belongs to one part."""
    table = interactions(50, 30, 8, 0).with_columns(pl.col("timestamp") // 20)
    split = add_split(table, "temporal", 0)
    days = split.group_by("timestamp").agg(parts=pl.col("split").n_unique())
    assert set(days["parts"]) == {1}


def test_temporal_needs_times() -> None:
    """Rows without a time are counted in the refusal."""
    table = interactions(20, 10, 5, 0).with_columns(timestamp=pl.when(pl.col("user_id") != "u3").then("timestamp"))
    with pytest.raises(DataError, match="5 rows have none"):
        add_split(table, "temporal", 0)


def test_one_moment_for_all_leaves_nothing_to_cut() -> None:
    """If all rows have the same time, the refusal names the part that is empty."""
    table = interactions(20, 10, 5, 0).with_columns(timestamp=pl.lit(7, dtype=pl.Int64))
    with pytest.raises(EmptyDataError, match="temporal leaves no valid rows"):
        add_split(table, "temporal", 0)


@settings(max_examples=25, deadline=None)
@given(table=tables, seed=st.integers(0, 5))
def test_held_out_users_are_held_out_whole(table: pl.DataFrame, seed: int) -> None:
    """A user is trained on, or has history and test, or has history and valid: nothing else, none empty."""
    split = add_split(table, "users", seed)
    kinds = split.group_by("user_id").agg(pl.col("split").unique().sort(), rows=pl.len(),
                                          held=(pl.col("split") != "history").sum())  # fmt: skip
    counts = {"train": 0, "history+test": 0, "history+valid": 0}
    for _, parts, rows, held in kinds.iter_rows():
        counts["+".join(parts)] += 1
        if parts != ["train"]:
            assert held == max(1, int(0.2 * rows + 0.5))
    users = kinds.height
    assert counts["history+test"] == int(0.15 * users + 0.5)
    assert counts["history+valid"] == int(0.10 * users + 0.5)


def test_a_user_with_one_row_is_never_held_out() -> None:
    """He could not give both a history and something to evaluate."""
    lonely = [(f"lonely{n}", "i0", 4.0, n) for n in range(200)]
    table = raw_of([*random_rows(8, 10, 5), *lonely]).interactions
    split = add_split(table, "users", 0)
    assert set(split.filter(pl.col("user_id").str.starts_with("lonely"))["split"]) == {"train"}
    assert {"history", "test", "valid"} <= set(split["split"])


@settings(max_examples=25, deadline=None)
@given(table=tables, seed=st.integers(0, 5))
def test_held_out_items_are_held_out_whole(table: pl.DataFrame, seed: int) -> None:
    """An item's rows are all in one part, in shares of 75:10:15 of the items: nobody's train rows know the others."""
    split = add_split(table, "items", seed)
    parts = split.group_by("item_id").agg(pl.col("split").unique())["split"].to_list()
    assert {len(one) for one in parts} == {1}
    found = [one[0] for one in parts]
    assert found.count("test") == max(1, int(0.15 * len(parts) + 0.5))
    assert found.count("valid") == max(1, int(0.10 * len(parts) + 0.5))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 20))
def test_new_users_meet_new_items(seed: int) -> None:
    """Evaluated rows are of users and items without train rows; history is of known items; what is left out is told."""
    table = interactions(60, 40, 12, seed)
    split = add_split(table, "users-items", seed)
    by = {part: split.filter(pl.col("split") == part) for part in ("train", "history", "valid", "test")}
    for part in ("valid", "test"):
        assert not set(by[part]["user_id"]) & set(by["train"]["user_id"])
        assert not set(by[part]["item_id"]) & (set(by["train"]["item_id"]) | set(by["history"]["item_id"]))
    assert not set(by["valid"]["user_id"]) & set(by["test"]["user_id"])
    left = table.join(split, on=["user_id", "item_id"], how="anti")
    held = set(by["valid"]["item_id"]) | set(by["test"]["item_id"])
    assert set(left["user_id"]) <= set(by["train"]["user_id"])
    assert set(left["item_id"]).isdisjoint(by["train"]["item_id"])
    known = set(by["train"]["item_id"])
    assert len(known | held | set(left["item_id"])) == table["item_id"].n_unique()
    assert split.equals(add_split(table.sample(fraction=1.0, shuffle=True, seed=1), "users-items", seed))


def test_the_random_split_does_not_favour_anyone() -> None:
    """A heavy and a light user have the same share of test rows, over many seeds."""
    table = interactions(60, 40, 20, 0)
    table = table.filter((pl.col("user_id") != "u0") | (pl.int_range(pl.len()).over("user_id") < 4))
    light = [
        add_split(table, "random", seed).filter(pl.col("user_id") == "u0")["split"].to_list() for seed in range(200)
    ]
    share = np.mean([part == "test" for parts in light for part in parts])
    assert 0.06 < share < 0.14  # 800 draws of .1: two standard errors are .02
