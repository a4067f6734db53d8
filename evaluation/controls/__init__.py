"""Codes that need no language model, of the same shape as the profile's: what it has to beat (docs/method.md#controls).

The k-th facet below is the k-th in alphabetical order, as CodeTable sorts them; every facet keeps its size.

               first facet                   second facet                 third and further facets
mean-rating    bins of polarity              bins of generosity           as the second, between its cuts
activity       bins of the number of rows    bins of items' popularity    as the second, between its cuts
kmeans         k-means over items met        k-means of another seed      k-means of further seeds
genre-kmeans   k-means over liked attributes k-means of another seed      k-means of further seeds
statistics     bins of polarity              k-means over items met       k-means of further seeds
statistics-mf  bins of polarity              k-means over preference      k-means of further seeds
rating-bias    bins of Rasch generosity      bins of warmth of ratings    as the second, between its cuts

`statistics-mf` groups users by what they liked instead of met, along the factors of the matrix of interactions.
`rating-bias` is what the background slot's words are counted from, without a language model, a soft prompt or a hobby:
what remains of a gain over it is theirs.

All are cross-fitted: the codes of fold f come from the user's train rows without fold f. Whatever is fitted (items'
means, cuts, directions, centres) is fitted on train rows of train users alone; held-out users, whose histories nothing
else sees, are placed by it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.evaluation.controls.bins import activity, generosity, polarity, popularity, quantile_bins
from userip.evaluation.controls.clusters import attributes_liked, items_met, k_means, preference, taste
from userip.evaluation.controls.control_views import ControlViews
from userip.training.crossfit.views import CrossFitViews
from userip.training.data.dataset import Dataset
from userip.training.judging.judgements import Judgements
from userip.training.recommender.codes import CodeTable

EVERYTHING: Final = 1 << 30  # interactions of one user
Codes = dict[str, NDArray[np.uint16]]  # facet -> the code of every view
Floats = NDArray[np.float64]
Control = Callable[[Dataset, Mapping[str, int], int, int, int], CodeTable]


def mean_rating(views: ControlViews, dataset: Dataset, sizes: Mapping[str, int], seed: int) -> Codes:
    """How generous a user is: against what others say of the same items, and as such. Nothing is drawn."""
    return _all_bins(views.fitted, sizes, polarity(views), generosity(views))


def activity_bins(views: ControlViews, dataset: Dataset, sizes: Mapping[str, int], seed: int) -> Codes:
    """How much a user meets, and whether it is what everybody meets; label-free. Nothing is drawn."""
    return _all_bins(views.fitted, sizes, activity(views), popularity(views))


def kmeans(views: ControlViews, dataset: Dataset, sizes: Mapping[str, int], seed: int) -> Codes:
    """Who meets the same items: TF-IDF, truncated SVD and k-means; label-free."""
    return _all_clusters(views, sizes, taste(items_met(views), views.fitted, seed), seed)


def genre_kmeans(views: ControlViews, dataset: Dataset, sizes: Mapping[str, int], seed: int) -> Codes:
    """Who likes items of the same attributes. Raises DataError where items have none."""
    return _all_clusters(views, sizes, taste(attributes_liked(views, dataset), views.fitted, seed), seed)


def statistics(views: ControlViews, dataset: Dataset, sizes: Mapping[str, int], seed: int) -> Codes:
    """Polarity, and who meets the same items (docs/method.md#controls)."""
    return _polarity_and_clusters(views, sizes, taste(items_met(views), views.fitted, seed), seed)


def statistics_mf(views: ControlViews, dataset: Dataset, sizes: Mapping[str, int], seed: int) -> Codes:
    """Polarity, and who likes the same items more than that says. Which of the two is better differs by data set."""
    return _polarity_and_clusters(views, sizes, preference(views, seed), seed)


def rating_bias(dataset: Dataset, sizes: Mapping[str, int], folds: int, fold_seed: int, seed: int) -> CodeTable:
    """How much users like and how warmly they rate, against what others say of the same items. Nothing is drawn."""
    views = CrossFitViews.of(dataset, folds, fold_seed, EVERYTHING)
    everybody = views.of_views(np.arange(len(views)))
    scales = Judgements.fit(views.histories.of(views.full), dataset.items.height).scales(everybody)
    codes = _all_bins(np.isin(np.arange(len(views)), views.full), sizes, scales[0], scales[-1])
    users = pl.Series("user_id", views.users, dtype=pl.String).gather(views.user)
    keys = pl.DataFrame({"user_id": users, "fold": views.without})
    table = _table("rating-bias", keys, sizes, (folds, fold_seed), codes)
    return replace(table, frame=table.frame.filter(pl.Series(everybody.lengths > 0)).sort("user_id", "fold"))


def _control(method: str, codes_of: Callable[[ControlViews, Dataset, Mapping[str, int], int], Codes]) -> Control:
    """The cross-fitted table of the codes that a control gives every view."""

    def make(dataset: Dataset, sizes: Mapping[str, int], folds: int, fold_seed: int, seed: int) -> CodeTable:
        views = ControlViews.of(dataset, folds, fold_seed)
        return _table(method, views.keys, sizes, (views.folds, fold_seed), codes_of(views, dataset, sizes, seed))

    return make


CONTROLS: Final[dict[str, Control]] = {
    "mean-rating": _control("mean-rating", mean_rating),
    "activity": _control("activity", activity_bins),
    "kmeans": _control("kmeans", kmeans),
    "genre-kmeans": _control("genre-kmeans", genre_kmeans),
    "statistics": _control("statistics", statistics),
    "statistics-mf": _control("statistics-mf", statistics_mf),
    "rating-bias": rating_bias,
}


def _all_bins(fitted: NDArray[np.bool_], sizes: Mapping[str, int], first: Floats, second: Floats) -> Codes:
    """The first facet from `first`, all others from `second`; the `fitted` views give the cuts."""
    name, *others = sorted(sizes)
    codes = {name: quantile_bins(first, fitted, sizes[name])}
    for number, other in enumerate(others):
        codes[other] = quantile_bins(second, fitted, sizes[other], shift=number / len(others))
    return codes


def _all_clusters(views: ControlViews, sizes: Mapping[str, int], vectors: Floats, seed: int) -> Codes:
    """One k-means per facet, each of its own seed."""
    return {
        name: k_means(vectors, views.fitted, sizes[name], seed * len(sizes) + number)
        for number, name in enumerate(sorted(sizes))
    }


def _polarity_and_clusters(views: ControlViews, sizes: Mapping[str, int], vectors: Floats, seed: int) -> Codes:
    first, *others = sorted(sizes)
    codes = {first: quantile_bins(polarity(views), views.fitted, sizes[first])}
    return codes | _all_clusters(views, {name: sizes[name] for name in others}, vectors, seed)


def _table(
    method: str, keys: pl.DataFrame, sizes: Mapping[str, int], folds: tuple[int, int], codes: Codes
) -> CodeTable:
    """keys: user_id and fold of every view, in the order of the codes; folds: how many, and their seed."""
    ordered = {name: sizes[name] for name in sorted(sizes)}
    frame = keys.select("user_id", "fold").with_columns(pl.Series(name, codes[name], pl.UInt16) for name in ordered)
    facets = tuple({"name": name, "size": size} for name, size in ordered.items())
    return CodeTable(frame, ordered, *folds, facets, method)
