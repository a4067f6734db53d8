"""X-Wines: `*ratings.csv` (1-5 in half steps, with date) and `*wines.csv` (lists as Python-style text)."""

from pathlib import Path
from typing import Final

import polars as pl

from userip.training.data.dataset import FieldInfo
from userip.training.data.raw import RawData, RowReport, keep_good, missing, parse_interactions
from userip.training.data.text_files import need, need_columns, read_csv

RATING_COLUMNS: Final = ("UserID", "WineID", "Rating", "Date")
WINE_COLUMNS: Final = ("WineID", "WineName", "WineryName")
ATTRIBUTES: Final = (
    "Type",
    "Grapes",
    "Country",
    "RegionName",
    "Body",
    "Acidity",
    "Harmonize",
    "Elaborate",
    "WineryName",
)
LISTS: Final = ("Grapes", "Harmonize")
FIELDS: Final = ("Type", "Country", "Body", "Acidity")


def read_xwines(source: Path, report: RowReport) -> RawData:
    """Read an X-Wines directory (Test, Slim or Full). A rating of 4 or more is positive."""
    ratings, wines = need(source, "*ratings.csv"), need(source, "*wines.csv")
    rows, bottles = read_csv(ratings, report), read_csv(wines, report)
    need_columns(rows, ratings, RATING_COLUMNS)
    need_columns(bottles, wines, (*WINE_COLUMNS, *FIELDS))
    bottles = keep_good(bottles, wines, report, [missing("WineID")])
    time = pl.col("Date").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.epoch("s")
    attributes = tuple(name for name in ATTRIBUTES if name in bottles.columns)
    return RawData(
        interactions=parse_interactions(rows, ratings, report, names=RATING_COLUMNS, time=time),
        items=bottles.select(
            pl.col("WineID").str.strip_chars().alias("item_id"),
            _full_name().alias("title"),
            *(_list_words(name) if name in LISTS else pl.col(name) for name in attributes),
        ),
        sources=(ratings, wines),
        positive_above=3.5,  # half steps: above 3.5 is 4 and more
        fields=tuple(FieldInfo(name=name, role="item") for name in FIELDS),
        attributes=attributes,
    )


def _full_name() -> pl.Expr:
    """Winery and wine: 28 wines of the slim set are called just "Cabernet Sauvignon"."""
    wine, winery = pl.col("WineName"), pl.col("WineryName")
    repeats = wine.str.to_lowercase().str.contains(winery.str.to_lowercase(), literal=True)
    return pl.when(repeats | winery.is_null()).then(wine).otherwise(winery + " " + wine)


def _list_words(column: str) -> pl.Expr:
    """`['Malbec', "Nero d'Avola"]` as `Malbec|Nero d'Avola`."""
    quoted = pl.col(column).str.extract_all(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
    return quoted.list.eval(pl.element().str.slice(1, pl.element().str.len_chars() - 2)).list.join("|")
