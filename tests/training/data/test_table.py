from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from userip.training.data.raw import RawData, RowReport
from userip.training.data.readers.table import TableColumns, read_any_table
from userip.training.errors import ConfigError, DataError

CSV = "who,what,stars,when,city,device\nann,b1,4.5,100,Rome,phone\nann,b2,1,200,Rome,\nbob,b1,3,300,Oslo,desk\n"
CATALOGUE = "what,name,kind,notes,pages\nb1,One,novel,short and sweet,100\nb2,Two,essay,dry,200\n"


def written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def read(source: Path, **columns: object) -> tuple[RawData, RowReport]:
    report = RowReport()
    named = {"user_column": "who", "item_column": "what"} | columns
    return read_any_table(source, report, TableColumns(**named)), report  # type: ignore[arg-type]


def test_csv_with_fields_of_every_role(tmp_path: Path) -> None:
    """Columns become user, item and context fields; text columns of the catalogue describe the items."""
    source = written(tmp_path / "rows.csv", CSV)
    raw, report = read(
        source,
        rating_column="stars",
        time_column="when",
        user_fields=("city",),
        context_fields=("device",),
        items=written(tmp_path / "books.csv", CATALOGUE),
        title_column="name",
        item_fields=("kind",),
    )
    assert report.total_bad == 0
    assert raw.interactions.columns == ["user_id", "item_id", "rating", "timestamp", "device", "city"]
    assert raw.interactions.row(1) == ("ann", "b2", 1.0, 200, None, "Rome")
    assert raw.items.to_dicts()[0] == {
        "item_id": "b1",
        "title": "One",
        "kind": "novel",
        "notes": "short and sweet",
    }
    assert raw.attributes == ("kind", "notes")
    assert {(field.name, field.role) for field in raw.fields} == {
        ("city", "user"),
        ("kind", "item"),
        ("device", "context"),
    }
    assert [path.name for path in raw.sources] == ["rows.csv", "books.csv"]


def test_without_a_catalogue_the_items_come_from_the_interactions(tmp_path: Path) -> None:
    """Title and item fields are an item's latest known values."""
    rows = "who,what,stars,name,kind\nann,b1,4,Old,novel\nbob,b1,3,New,\nbob,b2,3,,\n"
    raw, _ = read(written(tmp_path / "rows.csv", rows), title_column="name", item_fields=("kind",),
                  rating_column="stars")  # fmt: skip
    assert raw.items.rows() == [("b1", "New", "novel"), ("b2", None, None)]
    assert raw.attributes == ("kind",)


def test_user_fields_may_come_from_their_own_file(tmp_path: Path) -> None:
    """A file of users is joined by the user column; who is not in it has nulls."""
    users = written(tmp_path / "people.csv", "who,job\nann,smith\n")
    source = written(tmp_path / "rows.csv", CSV)
    raw, _ = read(source, rating_column="stars", users=users, user_fields=("job",))
    assert raw.interactions["job"].to_list() == ["smith", "smith", None]


def test_parquet_of_typed_columns_equals_its_csv(tmp_path: Path) -> None:
    """Whole floats, dates, lists, categories and booleans arrive as the same strings, labels and seconds."""
    typed = pl.DataFrame(
        {
            "who": [1.0, 2.0, None],
            "what": [7, 8, 9],
            "liked": [True, False, True],
            "when": [datetime(1970, 1, 1, 0, 1), datetime(1970, 1, 2), datetime(1970, 1, 3)],
            "kind": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
            "tags": [["x", "y"], [], None],
            "inner": [{"a": 1}, {"a": 2}, {"a": 3}],
        }
    )
    typed.write_parquet(tmp_path / "rows.parquet")
    raw, report = read(
        tmp_path,
        label_column="liked",
        time_column="when",
        item_fields=("kind",),
        attributes=("tags",),
    )
    assert raw.interactions.rows() == [("1", "7", None, 60, True), ("2", "8", None, 86400, False)]
    assert report.examples == ["rows.parquet:3: who is empty"]
    assert raw.items.rows() == [("7", None, "a", "x|y"), ("8", None, "b", "")]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1700000000", 1700000000),
        ("1700000000000", 1700000000),
        ("1700000000000000", 1700000000),
        ("1700000000000000000", 1700000000),
        ("1700000000.9", 1700000000),
        ("2023-11-14", 1699920000),
        ("2023-11-14 22:13:20", 1700000000),
        ("2023-11-14T22:13:20.5Z", 1700000000),
        ("2023-11-15T00:13:20+02:00", 1700000000),
        ("", None),
    ],
)
def test_times_of_many_makes(tmp_path: Path, said: str, seconds: int | None) -> None:
    """Seconds, milli-, micro- and nanoseconds, and ISO dates; a blank time is no time."""
    source = written(tmp_path / "rows.csv", f"who,what,rating,when\nann,b1,4,{said}\n")
    raw, report = read(source, time_column="when")
    assert report.examples == []
    assert raw.interactions["timestamp"].to_list() == [seconds]


@pytest.mark.parametrize(
    ("columns", "cells", "problem"),
    [
        ("rating", "", "rating '' is not a number"),
        ("rating", "four", "rating 'four' is not a number"),
        ("label", "maybe", "label 'maybe' is not true or false (or 1 or 0)"),
        ("rating,when", "4,soon", "when 'soon' is not a time"),
    ],
)
def test_cells_that_mean_nothing_are_named(tmp_path: Path, columns: str, cells: str, problem: str) -> None:
    """File, line, column and content of a bad cell are reported."""
    source = written(tmp_path / "rows.csv", f"who,what,{columns}\nann,b1,{cells}\n")
    _, report = read(source, time_column="when" if "when" in columns else None)
    assert report.examples == [f"rows.csv:2: {problem}"]


@pytest.mark.parametrize(
    ("columns", "error", "said"),
    [
        (
            {"user_column": "user"},
            DataError,
            "no column 'user'; it has: who, what, stars, when, city, device",
        ),
        ({}, DataError, "give --rating-column or --label-column; the columns are: who, what, stars"),
        ({"rating_column": "stars", "user_fields": ("town",)}, DataError, "no column 'town'"),
        ({"rating_column": "stars", "item_fields": ("label",)}, ConfigError, "field 'label'"),
        (
            {"rating_column": "stars", "user_fields": ("city",), "context_fields": ("city",)},
            ConfigError,
            "field 'city' is given twice",
        ),
    ],
)
def test_columns_that_are_not_there_or_clash(
    tmp_path: Path, columns: dict[str, object], error: type[Exception], said: str
) -> None:
    """A missing column is named with those that exist; a name can have one meaning only."""
    with pytest.raises(error, match=said):
        read(written(tmp_path / "rows.csv", CSV), **columns)


def test_a_folder_has_to_hold_one_table(tmp_path: Path) -> None:
    """None and several are refused; the catalogue's own file does not count."""
    with pytest.raises(DataError, match="no table in it"):
        read(tmp_path)
    books = written(tmp_path / "books.csv", CATALOGUE)
    written(tmp_path / "rows.tsv", CSV.replace(",", "\t"))
    assert read(tmp_path, rating_column="stars", items=books)[0].interactions.height == 3
    with pytest.raises(DataError, match=r"several tables \(books\.csv, rows\.tsv\)"):
        read(tmp_path, rating_column="stars")
    with pytest.raises(DataError, match="nowhere: not found"):
        read(tmp_path / "nowhere")


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    """Bytes that are not Parquet are an error that names the file."""
    with pytest.raises(DataError, match=r"rows\.parquet: not a Parquet file"):
        read(written(tmp_path / "rows.parquet", "who,what\n"))
