"""Controls that are one number per user, cut into bins: generosity and activity.

Every function takes `ControlViews` and gives float64 [V], one value per view, in the order of its keys.
"""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.evaluation.controls.control_views import ControlViews
from userip.training.crossfit.views import FULL

Floats = NDArray[np.float64]
ITEM_SHRINKAGE: Final = 5.0  # rows that the prior "like every item" is worth
USER_SHRINKAGE: Final = 5.0  # rows that the prior "like everybody" is worth
ROUNDS: Final = 5  # of alternating between items and users; later ones no longer move a bin


def surprises(views: ControlViews) -> pl.DataFrame:
    """How much more an item was liked than others like it: label - item's mean, per row of the views.

    Lines of view, item_id, surprise f64, sorted by view. The items' means are shrunk, and freed of how generous
    those are who met the item (ridge regression label = mean + item + user, by turns). Views of fold f take them from
    the train rows without fold f, so that no label finds its way back to its own row through other rows.
    """
    found = []
    for fold in sorted(views.keys["fold"].unique()):
        items, mean = _item_means(views.seen_in(fold))
        rows = views.rows.filter(pl.col("fold") == fold).join(items, on="item_id", how="left", maintain_order="left")
        surprise = pl.col("label") - mean - pl.col("item").fill_null(0.0)
        found.append(rows.select("view", "item_id", surprise=surprise))
    return pl.concat(found).sort("view", maintain_order=True)


def polarity(views: ControlViews) -> Floats:
    """How much more a user likes than others do of the same items: mean of the surprises, shrunk to 0."""
    sums = surprises(views).group_by("view").agg(value=pl.col("surprise").sum() / (pl.len() + USER_SHRINKAGE))
    return sums.sort("view")["value"].to_numpy()


def _item_means(train: pl.DataFrame) -> tuple[pl.DataFrame, float]:
    """(item_id, item f64: mean label of the item above the mean of all, users' generosity taken out), that mean."""
    mean = float(train["label"].to_numpy().mean())
    users, items = (
        train.select(pl.col(name).rank("dense") - 1).to_series().to_numpy() for name in ("user_id", "item_id")
    )
    label = train["label"].to_numpy() - mean
    of_user, of_item = np.zeros(users.max() + 1), np.zeros(items.max() + 1)
    for _ in range(ROUNDS):
        of_item = np.bincount(items, label - of_user[users]) / (np.bincount(items) + ITEM_SHRINKAGE)
        of_user = np.bincount(users, label - of_item[items]) / (np.bincount(users) + USER_SHRINKAGE)
    names = train["item_id"].unique().sort()
    return pl.DataFrame({"item_id": names, "item": of_item}), mean


def generosity(views: ControlViews) -> Floats:
    """The user's share of liked rows, whatever the items, shrunk to the share among all train rows."""
    mean = float(views.train["label"].to_numpy().mean())
    sums = views.rows.group_by("view").agg(value=(pl.col("label") - mean).sum() / (pl.len() + USER_SHRINKAGE))
    return sums.sort("view")["value"].to_numpy()


def activity(views: ControlViews) -> Floats:
    """Logarithm of the user's number of rows; a view without one of F folds counts for F / (F - 1) times as many."""
    whole = pl.lit(1.0) if views.folds < 2 else pl.lit(views.folds / (views.folds - 1))
    scale = pl.when(pl.col("fold") == FULL).then(1.0).otherwise(whole)
    return views.keys.select(value=(pl.col("rows") * scale).log())["value"].to_numpy()


def popularity(views: ControlViews) -> Floats:
    """Mean logarithm of how often the user's items occur in train: whether a user meets what everybody meets."""
    seen = views.train.group_by("item_id").agg(seen=pl.len().log())
    rows = views.rows.join(seen, on="item_id", how="left", maintain_order="left")
    return rows.group_by("view").agg(value=pl.col("seen").fill_null(0.0).mean()).sort("view")["value"].to_numpy()


def quantile_bins(values: Floats, fitted: NDArray[np.bool_], size: int, shift: float = 0.0) -> NDArray[np.uint16]:
    """Bins uint16 [V] with as many of the `fitted` values in each, as far as equal values allow.

    `shift` in [0, 1) moves every cut down by that part of a bin: the bins of another facet halve these.
    """
    cuts = np.quantile(values[fitted], (np.arange(1, size) - shift) / size)
    return np.searchsorted(cuts, values, side="right").astype(np.uint16)
