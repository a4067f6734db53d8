"""What a control may see of every user: the rows without one fold, or all of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.training.crossfit.folds import fold_of_rows
from userip.training.crossfit.views import FULL
from userip.training.data.dataset import Dataset


@dataclass(frozen=True, eq=False)
class ControlViews:
    """The histories that codes are made from, one view per user and fold (docs/method.md#cross-fitting).

    Fold -1 holds a user's whole history; fold f >= 0 a train user's train rows without those of fold f, so that a
    code made from it knows nothing of the labels that the recommender fits with it. Held-out users have fold -1 only,
    below two folds so has everybody, and a view without rows does not exist. Valid and test rows are never seen.

    train  the train rows: user_id, item_id, label f64, fold i8 (-1 below two folds)
    rows   the rows of all views, a row once in every view that it belongs to: view u32 (line of `keys`), item_id,
           label f64, fold i8
    keys   user_id, fold, sorted by both; trained bool (a train user's); rows i64 (how many)
    """

    train: pl.DataFrame
    rows: pl.DataFrame
    keys: pl.DataFrame
    folds: int

    @classmethod
    def of(cls, dataset: Dataset, folds: int, fold_seed: int) -> "ControlViews":
        """The views of the train and history rows, cut as `fold_of_rows` cuts them."""
        kept = ("user_id", "item_id", pl.col("label").cast(pl.Float64))
        train = dataset.rows("train")
        held = dataset.rows("history").select(*kept, fold=pl.lit(FULL, pl.Int8))
        cut = fold_of_rows(train, folds, fold_seed) if folds > 1 else pl.lit(FULL, pl.Int8)
        train = train.select(*kept, fold=cut)
        seen = [pl.concat([train, held]).with_columns(fold=pl.lit(FULL, pl.Int8))]
        seen += [
            train.filter(pl.col("fold") != fold).with_columns(fold=pl.lit(fold, pl.Int8))
            for fold in range(folds if folds > 1 else 0)
        ]
        rows = pl.concat(seen)
        keys = rows.group_by("user_id", "fold").agg(rows=pl.len().cast(pl.Int64)).sort("user_id", "fold")
        keys = keys.with_columns(trained=pl.col("user_id").is_in(train["user_id"].unique().implode()))
        place = keys.select("user_id", "fold").with_row_index("view")
        rows = rows.join(place, on=["user_id", "fold"], how="left", maintain_order="left")
        return cls(train, rows.select("view", "item_id", "label", "fold"), keys, max(folds, 1))

    @cached_property
    def fitted(self) -> NDArray[np.bool_]:
        """bool [V]: the views that cuts and clusters are fitted on, the whole histories of train users."""
        wanted = pl.col("trained") & (pl.col("fold") == FULL)
        return self.keys.select(wanted=wanted)["wanted"].to_numpy()

    def seen_in(self, fold: int) -> pl.DataFrame:
        """The train rows that codes of this fold may know of: all but its own; all of them for fold -1."""
        return self.train if fold == FULL else self.train.filter(pl.col("fold") != fold)
