"""What cleaning relies on, for every entry of `READERS`. A new format needs a sample here and nothing else."""

import json
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from userip.training.data.raw import RawData, RowReport
from userip.training.data.readers import READERS
from userip.training.errors import DataError

AGREED: Final = {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float64, "timestamp": pl.Int64}
# Per format a small folder: two interactions that can be read, then one in the third line of BAD's file that cannot.
SAMPLES: Final[dict[str, dict[str, str]]] = {
    "movietweetings": {
        "ratings.dat": "1::a::8::1364690142\n2::b::0::1364118447\n3::b::ten::5\n",
        "movies.dat": "a::A Few Good Men (1992)::Crime|Drama\nb::B (2011)::\n",
    },
    "movielens": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,a,3.5,964982703\n1,b,nan,964982703\n2,b,1,964982704\n",
        "movies.csv": "movieId,title,genres\na,American President (1995),Comedy|Drama\nb,Babylon 5,\n",
    },
    "xwines": {
        "XWines_ratings.csv": "RatingID,UserID,WineID,Vintage,Rating,Date\n1,1,a,N.V.,4.5,2021-11-02 20:52:59\n"
        "2,1,b,N.V.,4.5,yesterday\n3,2,b,N.V.,1,2021-11-02 20:52:59\n",
        "XWines_wines.csv": "WineID,WineName,Type,Grapes,Harmonize,Body,Acidity,Country,RegionName,WineryName\n"
        "a,Moscatel,Sparkling,['Muscat'],['Pork'],Light-bodied,High,Brazil,Serra,Casa\n",
    },
    "amazon": {
        "reviews_x.json": "\n".join(
            json.dumps({"reviewerID": user, "asin": item, "overall": rating, "unixReviewTime": 1400000000})
            for user, item, rating in (("1", "a", 5.0), ("2", "b", 2.0), ("2", "a", "five"))
        ),
        "meta_x.json": "{'asin': 'a', 'title': 'Shoe', 'price': 59.99}\n{'asin': 'b', 'title': 'Sock'}\n",
    },
    "yelp": {
        "x_review.json": "\n".join(
            json.dumps({"user_id": user, "business_id": item, "stars": 4, "date": date})
            for user, item, date in (("1", "a", "2016-05-28"), ("2", "b", "2016-05-28"), ("2", "a", "yesterday"))
        ),
        "x_business.json": '{"business_id": "a", "name": "Uno"}\n{"business_id": "b", "name": "Due"}\n',
    },
}
FORMATS: Final = pytest.mark.parametrize("form", sorted(READERS))


def read(form: str, folder: Path) -> tuple[RawData, RowReport]:
    """What the reader makes of its sample, written to `folder`."""
    for name, content in SAMPLES[form].items():
        (folder / name).write_text(content, encoding="utf-8")
    report = RowReport()
    return READERS[form](folder, report), report


def test_every_reader_has_a_sample() -> None:
    """No format is registered without one."""
    assert set(SAMPLES) == set(READERS)


@FORMATS
def test_interactions_have_the_agreed_columns(form: str, tmp_path: Path) -> None:
    """User, item, rating and time first, in fixed types; then the user and context fields, as text."""
    raw, _ = read(form, tmp_path)
    schema = dict(raw.interactions.schema)
    assert dict(list(schema.items())[:4]) == AGREED
    others = {field.name for field in raw.fields if field.role != "item"}
    assert set(schema) - set(AGREED) == others
    assert {schema[name] for name in others} <= {pl.String}
    assert sorted(raw.interactions.select("user_id", "item_id").rows()) == [("1", "a"), ("2", "b")]


@FORMATS
def test_the_catalogue_has_what_is_declared(form: str, tmp_path: Path) -> None:
    """Id, title, item fields and attributes are columns of text; the threshold of the format is given."""
    raw, _ = read(form, tmp_path)
    declared = {"item_id", "title", *raw.attributes, *(field.name for field in raw.fields if field.role == "item")}
    assert declared <= set(raw.items.columns)
    assert {raw.items[name].dtype for name in declared} == {pl.String()}
    assert raw.attributes
    assert raw.positive_above is not None


@FORMATS
def test_a_row_that_cannot_be_read_is_counted_and_named(form: str, tmp_path: Path) -> None:
    """With its file and its line; the rows beside it are kept, and the files read are told."""
    raw, report = read(form, tmp_path)
    assert report.total_bad == 1
    (example,) = report.examples
    assert example.startswith(f"{next(iter(SAMPLES[form]))}:3: ")
    assert {path.name for path in raw.sources} == set(SAMPLES[form])


@FORMATS
def test_a_folder_without_the_files_is_named(form: str, tmp_path: Path) -> None:
    """An empty folder, and one that does not exist, are named in a DataError."""
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=str(folder)):
            READERS[form](folder, RowReport())
