"""A small data set with planted tastes, and codes for it, for the tests of recommender and export."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from tests.training.margins import Auc
from userip.training.data.dataset import Dataset, DatasetInfo, FieldInfo, Split, split_hash_of
from userip.training.data.storage import write_dataset
from userip.training.recommender.codes import CodeTable

KINDS = ("drama", "horror", "comedy")
FIELDS = (
    FieldInfo(name="kind", role="item"),
    FieldInfo(name="age", role="user"),
    FieldInfo(name="device", role="context"),
)


def toy_dataset(
    out: Path,
    *,
    split: Split = "random",
    fields: Sequence[FieldInfo] = (),
    users: int = 120,
    items: int = 45,
    per_user: int = 24,
    noise: bool = False,
) -> Dataset:
    """User u{n} likes items of the kind n mod 3 (90 %), others rarely (15 %); with `noise`, labels are coins.

    A quarter of the users is held out whole with split "users": history and test, or history and valid.
    """
    rng = np.random.default_rng(7)
    lines = []
    for user in range(users):
        for item in rng.choice(items, size=per_user, replace=False):
            chance = 0.5 if noise else 0.9 if item % 3 == user % 3 else 0.15
            lines.append((f"u{user}", f"i{item}", bool(rng.random() < chance), ("phone", "tv")[int(rng.integers(2))]))
    rows = pl.DataFrame(lines, schema=["user_id", "item_id", "label", "device"], orient="row").with_columns(
        rating=pl.when("label").then(5.0).otherwise(1.0).cast(pl.Float32),
        timestamp=pl.int_range(pl.len(), dtype=pl.Int64),
        age=pl.when(pl.col("user_id").str.ends_with("1")).then(pl.lit("young")).otherwise(pl.lit("old")),
        split=pl.Series(_parts([line[0] for line in lines], split, rng)),
    )
    names = [field.name for field in fields if field.role != "item"]
    rows = rows.select("user_id", "item_id", "label", "rating", "timestamp", "split", *names)
    catalogue = pl.DataFrame(
        {
            "item_id": [f"i{item}" for item in range(items + 2)],  # the last two have no interactions
            "title": [f"The {KINDS[item % 3]} tale {item}" for item in range(items + 2)],
            "kind": [KINDS[item % 3] for item in range(items + 1)] + [None],
            "shelf": [f"all|{'odd' if item % 2 else 'even'}" for item in range(items + 2)],
        }
    )
    info = DatasetInfo(
        name="toy",
        format_version=1,
        sources={},
        files={},
        positive_above=3.0,
        min_interactions=1,
        split=split,
        seed=7,
        counts={"users": users, "items": items},
        fields=tuple(fields),
        attributes=("kind", "shelf"),
        split_hash=split_hash_of(rows, split, 7, catalogue, tuple(fields), ("kind", "shelf")),
    )
    return write_dataset(out, info, rows, catalogue)


def ceiling(rows: pl.DataFrame) -> Auc:
    """What knows the planted tastes and nothing else reaches on `rows`: nobody can do better, but by luck."""
    taste, kind = (pl.col(name).str.slice(1).cast(pl.Int64) % 3 for name in ("user_id", "item_id"))
    return Auc.of(rows["label"], float(roc_auc_score(rows["label"], rows.select(taste == kind).to_series())))


def toy_codes(dataset: Dataset) -> CodeTable:
    """Codes that know the planted taste (`hobby`) and codes that know nothing (`background`)."""
    users = dataset.rows("train", "history").select(pl.col("user_id").unique().sort())
    number = pl.col("user_id").str.slice(1).cast(pl.Int64)
    frame = users.with_columns(
        fold=pl.lit(-1, pl.Int8),
        background=(number * 7919 % 5 % 2).cast(pl.UInt16),
        hobby=(number % 3).cast(pl.UInt16),
    )
    facets = ({"name": "hobby", "size": 3, "note": "planted"}, {"name": "background", "size": 2})
    return CodeTable(frame, {"background": 2, "hobby": 3}, facets=facets)


def _parts(users: list[str], split: Split, rng: np.random.Generator) -> list[str]:
    if split == "random":
        return list(rng.choice(["train", "valid", "test"], size=len(users), p=[0.8, 0.1, 0.1]))
    parts = []
    for user in users:
        group = int(user[1:]) // 3 % 8  # whole triples of users, so that every taste is held out
        held = {0: "test", 1: "valid"}.get(group)
        parts.append("train" if held is None else "history" if rng.random() < 0.6 else held)
    return parts
