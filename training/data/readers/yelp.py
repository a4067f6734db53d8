"""Yelp: `*business.json` and `*review.json`, one JSON object per line.

The businesses' own `stars` and `review_count` stay out: they sum up all reviews, the test rows included.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from userip.training.data.dataset import FieldInfo
from userip.training.data.json_lines import read_json_lines
from userip.training.data.raw import LINE, RawData, RowReport, keep_good, missing, unusable
from userip.training.data.text_files import need

FIELDS: Final = (FieldInfo(name="city", role="item"), FieldInfo(name="state", role="item"))


class Business(msgspec.Struct):
    """One line of the businesses."""

    business_id: str
    name: str | None = None
    city: str | None = None
    state: str | None = None
    categories: str | list[str] | None = None


class Review(msgspec.Struct):
    """One line of the reviews; `date` is "2016-05-28" or "2016-05-28 19:02:11"."""

    user_id: str
    business_id: str
    stars: float
    date: str


def read_yelp(source: Path, report: RowReport) -> RawData:
    """Read Yelp's open data set. More than 3 stars are positive."""
    businesses, reviews = need(source, "*business.json"), need(source, "*review.json")
    frame = read_json_lines(reviews, Review, REVIEW_COLUMNS, report)
    time = _seconds(pl.col("date"))
    problems = [missing("user_id"), missing("item_id"), unusable("date", time, "a time")]
    frame = keep_good(frame, reviews, report, problems)
    items = read_json_lines(businesses, Business, BUSINESS_COLUMNS, report)
    return RawData(
        interactions=frame.select("user_id", "item_id", "rating", timestamp=time),
        items=items.drop(LINE),
        sources=(reviews, businesses),
        positive_above=3.0,
        fields=FIELDS,
        attributes=("categories", "city", "state"),
    )


def _seconds(date: pl.Expr) -> pl.Expr:
    whole = pl.when(date.str.len_chars() == 10).then(date + " 00:00:00").otherwise(date)
    return whole.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.epoch("s")


def _joined(categories: str | list[str] | None) -> str | None:
    parts = categories.split(",") if isinstance(categories, str) else categories or []
    return "|".join(part.strip().replace("|", "/") for part in parts if part.strip()) or None


REVIEW_COLUMNS: Final[dict[str, tuple[pl.DataType, Callable[[Review], object]]]] = {
    "user_id": (pl.String(), lambda review: review.user_id),
    "item_id": (pl.String(), lambda review: review.business_id),
    "rating": (pl.Float64(), lambda review: review.stars),
    "date": (pl.String(), lambda review: review.date),
}
BUSINESS_COLUMNS: Final[dict[str, tuple[pl.DataType, Callable[[Business], object]]]] = {
    "item_id": (pl.String(), lambda place: place.business_id),
    "title": (pl.String(), lambda place: place.name),
    "categories": (pl.String(), lambda place: _joined(place.categories)),
    "city": (pl.String(), lambda place: place.city),
    "state": (pl.String(), lambda place: place.state),
}
