"""What the movie formats share: `title (year)`, genres joined by "|", and what follows from them."""

from typing import Final

import polars as pl

from userip.training.data.dataset import FieldInfo

ATTRIBUTES: Final = ("genres", "decade")
FIELDS: Final = (FieldInfo(name="decade", role="item"),)
NO_GENRES: Final = ("(no genres listed)", "unknown", "")


def movie_items(item_id: pl.Expr, title: pl.Expr, genres: pl.Expr) -> list[pl.Expr]:
    """Columns `item_id, title, genres, year, decade`. The title keeps its year: remakes share their name."""
    year = title.str.extract(r"\((\d{4})(?:\s*[-\u2013]\s*\d{0,4})?\)\s*$")
    return [
        item_id.str.strip_chars().alias("item_id"),
        title.str.strip_chars().alias("title"),
        pl.when(genres.str.strip_chars().is_in(NO_GENRES).not_()).then(genres).alias("genres"),
        year.alias("year"),
        (year.str.slice(0, 3) + "0s").alias("decade"),
    ]
