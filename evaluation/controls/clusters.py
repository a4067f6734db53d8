"""Controls that group users: k-means over what they met, or over the attributes of what they liked.

Weights, directions and centres are fitted on the whole histories of train users alone; every other view, those of
held-out users among them, is placed by what was fitted. All on one thread, so that sums, and so bytes, stay the same.
"""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from threadpoolctl import threadpool_limits

from userip.evaluation.controls.bins import USER_SHRINKAGE, polarity, surprises
from userip.evaluation.controls.control_views import ControlViews
from userip.training.data.dataset import Dataset
from userip.training.errors import DataError

Floats = NDArray[np.float64]
RANK: Final = 32
PREFERENCES: Final = 8  # fewer: one number per direction has to come from a handful of labels
STARTS: Final = 4  # of k-means; the best one stays


def items_met(views: ControlViews, *, liked: bool = False) -> csr_array:
    """Counts float64 [V, I] of the items of every view, whatever the labels; with `liked` only where it was liked."""
    rows = views.rows.filter(pl.col("label") > 0) if liked else views.rows
    names = views.rows["item_id"].unique().sort()
    place = pl.DataFrame({"item_id": names}).with_row_index("place")
    columns = rows.join(place, on="item_id", how="left", maintain_order="left")["place"].to_numpy()
    return csr_array((np.ones(rows.height), (rows["view"].to_numpy(), columns)), shape=(views.keys.height, len(names)))


def attributes_liked(views: ControlViews, dataset: Dataset) -> csr_array:
    """Counts float64 [V, A] of the attribute values ("|"-separated) of the items that were liked.

    An item's values of one attribute share the weight of one: their squares add up to 1. Raises DataError for a data
    set whose items have no attributes.
    """
    if not dataset.info.attributes:
        raise DataError(
            f"{dataset.path}: items have no attributes to group users by; "
            "prepare it with some, or leave genre-kmeans out"
        )
    names = views.rows["item_id"].unique().sort()
    items = pl.DataFrame({"item_id": names}).with_row_index("place").join(dataset.items, on="item_id", how="left")
    pairs = []
    for attribute in dataset.info.attributes:
        values = items.select("place", value=pl.col(attribute).str.split("|")).explode("value")
        values = values.filter(pl.col("value").str.len_chars() > 0).unique().sort("place", "value")
        pairs.append(values.with_columns(attribute=pl.lit(attribute), weight=pl.len().over("place").pow(-0.5)))
    table = pl.concat(pairs).with_columns(column=pl.struct("attribute", "value").rank("dense") - 1)
    shape = (len(names), max(table["column"].n_unique(), 1))
    words = csr_array(
        (table["weight"].to_numpy(), (table["place"].to_numpy(), table["column"].to_numpy())), shape=shape
    )
    return csr_array(items_met(views, liked=True) @ words)


def taste(counts: csr_array, fitted: NDArray[np.bool_], seed: int) -> Floats:
    """Where users stand, float64 [V, <= 32] of length 1 (0 for an empty view): TF-IDF along its main directions."""
    weighted = _tf_idf(counts, fitted)
    return _unit(weighted @ _directions(weighted[fitted], RANK, seed))


def preference(views: ControlViews, seed: int) -> Floats:
    """What users like beyond their polarity, float64 [V, <= 8]: mean of what is left of the surprises, shrunk to 0.

    Each row counts in its item's direction: where the item stands among items that the same users meet.
    """
    weighted = _tf_idf(items_met(views), views.fitted)
    items = _unit(_directions(weighted[views.fitted], PREFERENCES, seed))
    level = pl.DataFrame({"level": polarity(views)}).with_row_index("view")
    place = pl.DataFrame({"item_id": views.rows["item_id"].unique().sort()}).with_row_index("place")
    rows = surprises(views).join(level, on="view", how="left", maintain_order="left")
    rows = rows.join(place, on="item_id", how="left", maintain_order="left")
    left = (rows["surprise"] - rows["level"]).to_numpy()
    table = csr_array((left, (rows["view"].to_numpy(), rows["place"].to_numpy())), shape=weighted.shape)
    means: Floats = (table @ items) / (views.keys["rows"].to_numpy()[:, None] + USER_SHRINKAGE)
    return means


def _tf_idf(counts: csr_array, fitted: NDArray[np.bool_]) -> csr_array:
    known = counts[fitted]
    seen = (known > 0).sum(axis=0)
    return csr_array(counts @ diags_array(np.log((1 + known.shape[0]) / (1 + seen))))


def _directions(table: csr_array, rank: int, seed: int) -> Floats:
    """float64 [A, <= rank]: the main directions of lines [n, A]; the axes themselves where they are not more."""
    if table.shape[1] <= rank:
        return np.eye(table.shape[1])
    if not table.count_nonzero():  # everybody met everything
        return np.zeros((table.shape[1], 1))
    with threadpool_limits(1):
        components: Floats = TruncatedSVD(rank, random_state=seed).fit(table).components_.T
    return components


def _unit(vectors: Floats) -> Floats:
    units: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return units


def k_means(vectors: Floats, fitted: NDArray[np.bool_], size: int, seed: int) -> NDArray[np.uint16]:
    """Clusters uint16 [V]. With fewer different fitted vectors than clusters, so many clusters stay empty."""
    size = min(size, len(np.unique(vectors[fitted], axis=0)))
    with threadpool_limits(1):
        means = KMeans(size, n_init=STARTS, random_state=seed).fit(vectors[fitted])
        codes: NDArray[np.uint16] = means.predict(vectors).astype(np.uint16)
    return codes
