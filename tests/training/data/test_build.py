from pathlib import Path

import polars as pl
import pytest

from tests.fixtures.small_disk import BALLAST, SmallDisk
from tests.training.data.small_sets import random_rows, raw_of, small_dataset
from userip.disk import DiskFullError
from userip.training.data.build import BuildConfig, build_dataset
from userip.training.data.dataset import Dataset, FieldInfo
from userip.training.data.raw import RawData, RowReport
from userip.training.data.storage import write_dataset
from userip.training.errors import ConfigError, DataError, EmptyDataError


def build(raw: RawData, out: Path, **settings: object) -> Dataset:
    config = BuildConfig(**{"name": "small", **settings})  # type: ignore[arg-type]
    return build_dataset(raw, RowReport(), out, config)


def test_every_row_that_was_read_is_accounted_for(tmp_path: Path) -> None:
    """Rows read = interactions + duplicates + rows of users and items with too few."""
    rows = random_rows()
    repeated = [(*row[:3], 9_000_000) for row in rows[:7]]
    rare = [("rare", "i0", 4.0, 1), ("u0", "unseen", 4.0, 2)]
    counts = build(raw_of([*rows, *repeated, *rare], sources=()), tmp_path / "set").info.counts
    assert counts["rows_read"] == 320 + 7 + 2
    assert counts["duplicates"] == 7
    assert counts["below_min_interactions"] == 2
    assert counts["interactions"] == counts["train"] + counts["valid"] + counts["test"] == 320
    assert (counts["users"], counts["items"]) == (40, 20)


def test_the_same_input_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    """Two builds are equal byte for byte; another seed gives another split hash."""
    first, second = (small_dataset(tmp_path / name, split="users") for name in ("a", "b"))
    for name in ("dataset.json", "interactions.parquet", "items.parquet"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()
    assert small_dataset(tmp_path / "c", split="users", seed=1).split_hash != first.split_hash


def test_another_catalogue_is_another_data_set(tmp_path: Path) -> None:
    """The same rows with another title, or another column that describes items: what is made of one fits no other."""
    items = raw_of(random_rows()).items.with_columns(kind=pl.lit("k"))
    renamed = items.with_columns(title=pl.col("title").replace("i3", "Another"))
    given = ((items, ()), (renamed, ()), (items, ("kind",)))
    sets = [
        build(raw_of(random_rows(), sources=(), items=catalogue, attributes=attributes), tmp_path / str(number))
        for number, (catalogue, attributes) in enumerate(given)
    ]
    assert len({one.split_hash for one in sets}) == 3


def test_the_catalogue_holds_the_items_in_use_with_a_title_each(tmp_path: Path) -> None:
    """Unused items go, repeated ids keep the last, a blank title gives way to the id; cells are stripped."""
    items = pl.DataFrame(
        {
            "item_id": ["i0", "unused", "i0", "i1"],
            "title": ["Old", "U", " New\n one ", " "],
            "kind": ["", "k", " k ", None],
        }
    )
    raw = raw_of(random_rows(), sources=(), items=items)
    dataset = build(raw, tmp_path / "set")
    assert dataset.items.head(2).rows() == [("i0", "New one", "k"), ("i1", "i1", None)]
    assert dataset.items.height == 20
    assert dataset.info.counts["repeated_items"] == 1
    assert dataset.info.counts["items_without_title"] == 19


def test_user_fields_are_constant_and_context_fields_are_not(tmp_path: Path) -> None:
    """A user field takes the user's latest known value in all their rows; a context field stays as it was."""
    rows = raw_of(random_rows(), sources=())
    n = rows.interactions.height
    interactions = rows.interactions.sort("user_id", "timestamp").with_columns(
        town=pl.when(pl.int_range(pl.len()).over("user_id") == 3).then(pl.lit("late")).otherwise(pl.lit(None)),
        device=pl.Series(["phone", "desk"] * (n // 2)),
    )
    interactions = interactions.with_columns(
        town=pl.when(pl.int_range(pl.len()).over("user_id") == 0).then(pl.lit("early")).otherwise("town")
    )
    fields = (FieldInfo(name="town", role="user"), FieldInfo(name="device", role="context"))
    dataset = build(raw_of(random_rows(), sources=(), interactions=interactions, fields=fields), tmp_path / "set")
    train = dataset.rows()
    assert set(train["town"]) == {"late"}
    assert set(train["device"]) == {"phone", "desk"}
    assert dataset.info.fields == fields


def test_a_source_may_state_labels_itself(tmp_path: Path) -> None:
    """Stated labels are kept, ratings may be missing, and a threshold beside them is refused."""
    rows = raw_of(random_rows(), sources=()).interactions.with_columns(
        label=pl.col("timestamp") % 2 == 0, rating=pl.lit(None, dtype=pl.Float64)
    )
    raw = raw_of(random_rows(), sources=(), interactions=rows, positive_above=None)
    dataset = build(raw, tmp_path / "set")
    assert dataset.info.positive_above is None
    assert dataset.info.counts["positives"] == 160
    with pytest.raises(ConfigError, match="--positive-above"):
        build(raw, tmp_path / "other", positive_above=3.0)


def test_without_threshold_or_labels_a_person_has_to_choose(tmp_path: Path) -> None:
    """A table of ratings without a threshold asks for one."""
    with pytest.raises(ConfigError, match="give --positive-above R"):
        build(raw_of(random_rows(), positive_above=None), tmp_path / "set")


@pytest.mark.parametrize(
    ("rows", "settings", "said"),
    [
        ([], {}, r"rows\.csv: no interactions"),
        (random_rows(4, 9, 3), {}, "no interactions left of 12.*fewer than 4.*--min-interactions"),
        (random_rows(), {"positive_above": 5.0}, "all 320 interactions are negative.*run from 1 to 5"),
        (random_rows(), {"positive_above": 0.0}, "all 320 interactions are positive.*than 0"),
        ([("a", "x", 5.0, 1), ("b", "x", 1.0, 2)], {"min_interactions": 1}, "random leaves no valid rows"),
    ],
)
def test_nothing_to_train_on_is_said_with_its_cause(
    tmp_path: Path, rows: list[tuple[str, str, float, int | None]], settings: dict[str, object], said: str
) -> None:
    """Each way to end with nothing names the step and the setting; nothing is written."""
    with pytest.raises(EmptyDataError, match=said):
        build(raw_of(rows), tmp_path / "set", **settings)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_data_set_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    """A data set and an empty folder may be written over; a folder or a file of another kind stays."""
    (tmp_path / "set").mkdir()
    first = small_dataset(tmp_path / "set")
    assert small_dataset(tmp_path / "set", seed=5).split_hash != first.split_hash
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    (tmp_path / "set" / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match=r"something else: mine\.txt"):
        small_dataset(tmp_path / "set")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("keep")
    with pytest.raises(DataError, match="not a data set directory"):
        small_dataset(tmp_path / "home")
    with pytest.raises(DataError, match="is a file"):
        small_dataset(tmp_path / "home" / "letter")
    assert (tmp_path / "home" / "letter").read_text() == "keep"


def test_a_full_disk_leaves_the_earlier_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """polars has an error of its own for it: one line, the old data set whole, nothing beside it."""
    before = small_dataset(tmp_path / "set")

    def full(self: pl.DataFrame, file: Path) -> None:
        file.write_bytes(b"PAR1")
        raise pl.exceptions.ComputeError("underlying IO error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(pl.DataFrame, "write_parquet", full)
        with pytest.raises(DiskFullError, match=r"^No space left for .*set: free some and run the same command again$"):
            small_dataset(tmp_path / "set", seed=1)
    assert Dataset.open(tmp_path / "set").split_hash == before.split_hash
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("room", [0, 4096, 12_000])
def test_a_data_set_on_a_full_disk(room: int, small_disk: SmallDisk) -> None:
    """Wherever there is no room left, one line, and no part of a data set; with room, the same again is whole."""
    small_disk.leave(room)
    with pytest.raises(DiskFullError, match=r"^No space left for .*/set: free some"):
        small_dataset(small_disk.path / "set")
    assert [entry.name for entry in small_disk.path.iterdir()] == [BALLAST]
    small_disk.free()
    small_dataset(small_disk.path / "set")


def test_writing_that_fails_leaves_the_earlier_data_set(tmp_path: Path) -> None:
    """If the new data set cannot be written, the old one is as it was and nothing is left beside it."""
    before = small_dataset(tmp_path / "set")
    (tmp_path / "set.writing").write_text("in the way: a file where a folder has to be")
    with pytest.raises(DataError, match="cannot be written"):
        write_dataset(tmp_path / "set", before.info, before.rows(), before.items)
    assert Dataset.open(tmp_path / "set").split_hash == before.split_hash
