"""Small raw data and written data sets for the tests of this folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from userip.training.data.build import BuildConfig, build_dataset
from userip.training.data.dataset import Dataset
from userip.training.data.raw import RawData, RowReport

INTERACTIONS = {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float64, "timestamp": pl.Int64}


def raw_of(rows: Sequence[tuple[str, str, float, int | None]], **given: object) -> RawData:
    """Raw data from (user, item, rating, time) rows; the catalogue names every item."""
    interactions = pl.DataFrame(rows, schema=INTERACTIONS, orient="row")
    items = interactions.select("item_id").unique().sort("item_id").with_columns(title="item_id")
    fixed = {"interactions": interactions, "items": items, "sources": (Path("rows.csv"),)}
    return RawData(**{**fixed, "positive_above": 3.0, **given})  # type: ignore[arg-type]


def random_rows(
    users: int = 40, items: int = 20, per_user: int = 8, seed: int = 0
) -> list[tuple[str, str, float, int | None]]:
    """Different items per user, ratings 1..5, all times different."""
    rng = np.random.default_rng(seed)
    pairs = [(u, i) for u in range(users) for i in rng.choice(items, size=per_user, replace=False)]
    times = rng.permutation(len(pairs)) + 1_000_000
    return [(f"u{u}", f"i{i}", float(rng.integers(1, 6)), int(t)) for (u, i), t in zip(pairs, times, strict=True)]


def small_dataset(out: Path, **settings: object) -> Dataset:
    """A written data set of 320 interactions."""
    config = BuildConfig(**{"name": "small", **settings})  # type: ignore[arg-type]
    return build_dataset(raw_of(random_rows(), sources=()), RowReport(), out, config)
