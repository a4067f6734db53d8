import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.data.small_sets import small_dataset
from userip.training.data.dataset import INFO, INTERACTIONS, ITEMS, Dataset, FieldInfo, split_hash_of
from userip.training.errors import DataError, TestSplitError


def test_rows_gives_only_the_parts_named_and_train_by_default(tmp_path: Path) -> None:
    """`rows()` is the train part; valid rows come only when named; the order is user, time, item."""
    dataset = small_dataset(tmp_path / "set")
    assert set(dataset.rows()["split"]) == {"train"}
    both = dataset.rows("train", "valid")
    assert set(both["split"]) == {"train", "valid"}
    assert both.equals(both.sort("user_id", "timestamp", "item_id"))
    assert both.height == dataset.info.counts["train"] + dataset.info.counts["valid"]


def test_test_rows_are_out_of_reach_except_once_counted(tmp_path: Path) -> None:
    """`rows("test")` raises; `final_eval` gives the test rows and counts how often it was asked."""
    dataset = small_dataset(tmp_path / "set")
    with pytest.raises(TestSplitError, match="final_eval"):
        dataset.rows("train", "test")
    assert dataset.test_reads == 0
    pairs = dataset.test_pairs()
    assert not {"label", "rating"} & set(pairs.columns)
    assert dataset.test_reads == 0
    assert set(dataset.final_eval()["split"]) == {"test"}
    assert dataset.test_reads == 1


def test_a_part_that_does_not_exist_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    """A misspelt part raises ValueError with the parts that exist."""
    with pytest.raises(ValueError, match=r"valdi.*train, valid, history, test"):
        small_dataset(tmp_path / "set").rows("valdi")


def test_the_tables_have_the_agreed_columns(tmp_path: Path) -> None:
    """The schema of both tables is the one that the design fixes."""
    dataset = small_dataset(tmp_path / "set")
    assert dict(dataset.rows().schema) == {
        "user_id": pl.String,
        "item_id": pl.String,
        "label": pl.Boolean,
        "rating": pl.Float32,
        "timestamp": pl.Int64,
        "split": pl.String,
    }
    assert dict(dataset.items.schema) == {"item_id": pl.String, "title": pl.String}
    assert dataset.items["title"].null_count() == 0


@pytest.mark.parametrize("name", [INFO, INTERACTIONS, ITEMS])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """Opening a directory that lacks a file says which one."""
    path = small_dataset(tmp_path / "set").path
    (path / name).unlink()
    with pytest.raises(DataError, match=name):
        Dataset.open(path)


def test_an_altered_table_is_refused(tmp_path: Path) -> None:
    """A table that is not the one that was written is refused by its hash."""
    path = small_dataset(tmp_path / "set").path
    pl.read_parquet(path / INTERACTIONS).head(5).write_parquet(path / INTERACTIONS)
    with pytest.raises(DataError, match=r"interactions\.parquet: differs"):
        Dataset.open(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 2}, "format_version is 2"),
        ({"surprise": 1}, "surprise"),
        ({"split_hash": "short"}, "split_hash"),
        ({"seed": "seven"}, "seed"),
    ],
)
def test_a_description_of_another_make_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    """Unknown keys, other versions and values of the wrong kind are refused and named."""
    path = small_dataset(tmp_path / "set").path
    info = json.loads((path / INFO).read_text()) | change
    (path / INFO).write_text(json.dumps(info))
    with pytest.raises(DataError, match=said):
        Dataset.open(path)


def test_a_description_that_is_no_json_is_refused(tmp_path: Path) -> None:
    """A cut-short dataset.json is an error that names the file."""
    path = small_dataset(tmp_path / "set").path
    (path / INFO).write_text('{"name": "sm')
    with pytest.raises(DataError, match=r"dataset\.json: not JSON"):
        Dataset.open(path)


rows_strategy = st.lists(
    st.tuples(
        st.text(max_size=3),
        st.text(max_size=3),
        st.booleans(),
        st.sampled_from(["train", "valid", "history", "test"]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[:2],
)


@given(rows=rows_strategy, data=st.data())
def test_the_split_hash_follows_content_not_order(rows: list[tuple[str, str, bool, str]], data: st.DataObject) -> None:
    """Row order does not matter to the hash; a label, a part, an id, the rule and the seed do."""
    schema = {"user_id": pl.String, "item_id": pl.String, "label": pl.Boolean, "split": pl.String}

    def hashed(these: list[tuple[str, str, bool, str]]) -> str:
        return split_hash_of(pl.DataFrame(these, schema=schema, orient="row"), "random", 0)

    assert hashed(rows) == hashed(data.draw(st.permutations(rows)))
    at = data.draw(st.integers(0, len(rows) - 1))
    user, item, label, split = rows[at]
    other = "valid" if split == "train" else "train"
    for changed in (
        (user, item, not label, split),
        (user, item, label, other),
        (user + "x", item, label, split),
    ):
        assert hashed([*rows[:at], changed, *rows[at + 1 :]]) != hashed(rows)
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    assert split_hash_of(frame, "users", 0) != split_hash_of(frame, "random", 0)
    assert split_hash_of(frame, "random", 1) != split_hash_of(frame, "random", 0)


def test_ids_cannot_run_into_each_other_in_the_split_hash() -> None:
    """("ab", "c") and ("a", "bc") are different pairs."""
    frames = [
        pl.DataFrame({"user_id": [user], "item_id": [item], "label": [True], "split": ["train"]})
        for user, item in (("ab", "c"), ("a", "bc"))
    ]
    assert split_hash_of(frames[0], "random", 0) != split_hash_of(frames[1], "random", 0)


def test_whatever_training_reads_is_in_the_split_hash() -> None:
    """A rating, a time, a field of a row, a title, an attribute, and which columns are read as what: each counts."""
    rows = pl.DataFrame(
        {"user_id": ["a", "b"], "item_id": ["x", "y"], "label": [True, False], "rating": [5.0, None],
         "timestamp": [1, 2], "split": ["train", "test"], "device": ["tv", None]}
    )  # fmt: skip
    items = pl.DataFrame({"item_id": ["x", "y"], "title": ["One", "Two"], "kind": [None, "k"]})
    fields = (FieldInfo(name="kind", role="item"),)
    given = (rows, "random", 0, items, fields, ("kind",))
    found = [
        split_hash_of(*given[:at], change, *given[at + 1 :])  # type: ignore[arg-type, call-arg]
        for at, change in (
            (0, rows.with_columns(rating=pl.Series([5.0, 1.0]))),
            (0, rows.with_columns(timestamp=pl.Series([2, 1]))),
            (0, rows.with_columns(device=pl.Series(["tv", ""]))),
            (0, rows.rename({"device": "place"})),
            (3, items.with_columns(title=pl.Series(["One", "2"]))),
            (3, items.with_columns(kind=pl.Series(["k", None]))),
            (3, items.drop("kind")),
            (4, ()),
            (4, (FieldInfo(name="device", role="context"),)),
            (5, ()),
        )
    ]
    assert len({split_hash_of(*given), *found}) == 1 + len(found)  # type: ignore[arg-type]
    other_order = (rows.reverse().select(reversed(rows.columns)), "random", 0, items.reverse(), fields, ("kind",))
    assert split_hash_of(*other_order) == split_hash_of(*given)  # type: ignore[arg-type]
