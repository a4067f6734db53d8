"""Cleaning: one row per user and item, the iterated core, labels (docs/method.md#data)."""

import numpy as np
import polars as pl

PAIR = ("user_id", "item_id")


def deduplicate(interactions: pl.DataFrame) -> pl.DataFrame:
    """Keep the last row of every (user_id, item_id): the latest by time, among equals the last in the file.

    The rows come out in order of time, those without a time first.
    """
    ordered = interactions.sort("timestamp", nulls_last=False, maintain_order=True)
    return ordered.unique(PAIR, keep="last", maintain_order=True)


def core(interactions: pl.DataFrame, at_least: int) -> pl.DataFrame:
    """Drop users and items with fewer than `at_least` rows, again and again until none is left to drop.

    The result does not depend on the order of dropping: it is the largest sub-table in which all have enough.
    """
    users = _positions(interactions["user_id"])
    items = _positions(interactions["item_id"])
    kept = np.arange(interactions.height)
    while True:
        enough = (np.bincount(users)[users] >= at_least) & (np.bincount(items)[items] >= at_least)
        if enough.all():
            return interactions[kept]
        users, items, kept = users[enough], items[enough], kept[enough]


def label(interactions: pl.DataFrame, positive_above: float | None) -> pl.DataFrame:
    """Add `label` = rating > `positive_above`; with None, the source's own `label` stays."""
    if positive_above is None:
        return interactions
    return interactions.with_columns(label=pl.col("rating") > positive_above)


def _positions(ids: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Number the ids from 0, in any order: [rows] i64."""
    return ids.cast(pl.Categorical).to_physical().to_numpy().astype(np.int64)
