"""Amazon reviews (2014 and 2018): `reviews_*.json.gz` and `meta_*.json.gz`, one object per line.

A review has `reviewerID, asin, overall, unixReviewTime`; a product `asin, title, brand, price, categories`.
"""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from userip.training.data.dataset import FieldInfo
from userip.training.data.json_lines import read_json_lines
from userip.training.data.raw import LINE, RawData, RowReport, banded, keep_good, missing
from userip.training.data.text_files import need

ASIN: Final = re.compile(r"""["']asin["']\s*:\s*["']([^"']+)["']""")
PRICE_WORDS: Final = ("cheap", "moderate", "expensive")
FIELDS: Final = (FieldInfo(name="brand", role="item"), FieldInfo(name="price", role="item"))


class Review(msgspec.Struct):
    """One line of the reviews."""

    reviewerID: str  # noqa: N815 - the public files' own name
    asin: str
    overall: float
    unixReviewTime: int  # noqa: N815 - the public files' own name


class Product(msgspec.Struct):
    """One line of the metadata. Kinds differ between the years, so most of them are judged below."""

    asin: str
    title: Any = None
    brand: Any = None
    price: Any = None
    category: Any = None
    categories: Any = None


def read_amazon(source: Path, report: RowReport) -> RawData:
    """Read one category's reviews and metadata. A rating above 3 is positive."""
    meta = need(source, "meta_*.json")
    reviews = need(source, "reviews_*.json", "[!m]*.json")
    frame = read_json_lines(reviews, Review, REVIEW_COLUMNS, report)
    frame = keep_good(frame, reviews, report, [missing("user_id"), missing("item_id")])
    reviewed = frozenset(frame["item_id"].unique())
    items = read_json_lines(meta, Product, PRODUCT_COLUMNS, report, only=(ASIN, reviewed))
    # The thirds of the catalogue by price, in words: a language model reads no dollars.
    dollars = pl.col("dollars")
    share_below = (dollars.rank("average") - 0.5) / dollars.count()
    price = banded(share_below, (1 / 3, 2 / 3), PRICE_WORDS)
    return RawData(
        interactions=frame.drop(LINE),
        items=items.with_columns(price=price).drop("dollars", LINE),
        sources=(reviews, meta),
        positive_above=3.0,
        fields=FIELDS,
        attributes=("categories", "brand", "price"),
    )


def _categories(product: Product) -> str | None:
    names = _flat(product.categories if product.category is None else product.category)
    return "|".join(dict.fromkeys(names)) or None


def _flat(value: object) -> list[str]:
    """The strings of a list, or of a list of lists (2014), in order."""
    if isinstance(value, str):
        return [html.unescape(value).replace("|", "/").strip()]
    return [text for part in value for text in _flat(part)] if isinstance(value, list) else []


def _plain_text(value: object) -> str | None:
    return html.unescape(value) if isinstance(value, str) else None


def _dollars(value: object) -> float | None:
    """A number (2014) or the first amount of a text like "$5.00 - $9.99" (2018)."""
    if isinstance(value, str):
        amount = re.match(r"\s*\$\s*([\d,]+(?:\.\d+)?)", value)
        return float(amount[1].replace(",", "")) if amount and amount[1].strip(",") else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


REVIEW_COLUMNS: Final[dict[str, tuple[pl.DataType, Callable[[Review], object]]]] = {
    "user_id": (pl.String(), lambda review: review.reviewerID),
    "item_id": (pl.String(), lambda review: review.asin),
    "rating": (pl.Float64(), lambda review: review.overall),
    "timestamp": (pl.Int64(), lambda review: review.unixReviewTime),
}
PRODUCT_COLUMNS: Final[dict[str, tuple[pl.DataType, Callable[[Product], object]]]] = {
    "item_id": (pl.String(), lambda product: product.asin),
    "title": (pl.String(), lambda product: _plain_text(product.title)),
    "categories": (pl.String(), _categories),
    "brand": (pl.String(), lambda product: _plain_text(product.brand)),
    "dollars": (pl.Float64(), lambda product: _dollars(product.price)),
}
