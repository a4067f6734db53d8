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
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.evaluation.control_views import ControlViews
from userip.evaluation.controls_bins import activity, generosity, polarity, popularity, quantile_bins
from userip.evaluation.controls_clusters import attributes_liked, items_met, k_means, preference, taste
from userip.training.crossfit.views import CrossFitViews
from userip.training.data.dataset import Dataset
from userip.training.language.judgements import Judgements
from userip.training.recommender.codes import CodeTable

EVERYTHING: Final = 1 << 30  # interactions of one user
Codes = NDArray[np.uint16]
Floats = NDArray[np.float64]
Control = Callable[[Dataset, Mapping[str, int], int, int, int], CodeTable]


def mean_rating(dataset: Dataset, sizes: Mapping[str, int], folds: int, fold_seed: int, seed: int) -> CodeTable:
    """How generous a user is: against what others say of the same items, and as such. Nothing is drawn."""
    views = ControlViews.of(dataset, folds, fold_seed)
    return _table("mean-rating", views, sizes, fold_seed, _all_bins(views, sizes, polarity(views), generosity(views)))


def activity_bins(dataset: Dataset, sizes: Mapping[str, int], folds: int, fold_seed: int, seed: int) -> CodeTable:
    """How much a user meets, and whether it is what everybody meets; label-free. Nothing is drawn."""
    views = ControlViews.of(dataset, folds, fold_seed)
    return _table("activity", views, sizes, fold_seed, _all_bins(views, sizes, activity(views), popularity(views)))


def kmeans(dataset: Dataset, sizes: Mapping[str, int], folds: int, fold_seed: int, seed: int) -> CodeTable:
    """Who meets the same items: TF-IDF, truncated SVD and k-means; label-free."""
    views = ControlViews.of(dataset, folds, fold_seed)
    vectors = taste(items_met(views), views.fitted, seed)
    return _table("kmeans", views, sizes, fold_seed, _all_clusters(views, sizes, vectors, seed))


def genre_kmeans(dataset: Dataset, sizes: Mapping[str, int], folds: int, fold_seed: int, seed: int) -> CodeTable:
    """Who likes items of the same attributes. Raises DataError where items have none."""
    views = ControlViews.of(dataset, folds, fold_seed)
    vectors = taste(attributes_liked(views, dataset), views.fitted, seed)
    return _table("genre-kmeans", views, sizes, fold_seed, _all_clusters(views, sizes, vectors, seed))


def statistics(dataset: Dataset, sizes: Mapping[str, int], folds: int, fold_seed: int, seed: int) -> CodeTable:
    """Polarity, and who meets the same items (docs/method.md#controls)."""
    views = ControlViews.of(dataset, folds, fold_seed)
    vectors = taste(items_met(views), views.fitted, seed)
    return _table("statistics", views, sizes, fold_seed, _polarity_and_clusters(views, sizes, vectors, seed))


def statistics_mf(dataset: Dataset, sizes: Mapping[str, int], folds: int, fold_seed: int, seed: int) -> CodeTable:
    """Polarity, and who likes the same items more than that says. Which of the two is better differs by data set."""
    views = ControlViews.of(dataset, folds, fold_seed)
    vectors = preference(views, seed)
    return _table("statistics-mf", views, sizes, fold_seed, _polarity_and_clusters(views, sizes, vectors, seed))


def rating_bias(dataset: Dataset, sizes: Mapping[str, int], folds: int, fold_seed: int, seed: int) -> CodeTable:
    """How much users like and how warmly they rate, against what others say of the same items. Nothing is drawn."""
    views = CrossFitViews.of(dataset, folds, fold_seed, EVERYTHING)
    everybody = views.of_views(np.arange(len(views)))
    scales = Judgements.fit(views.histories.of(views.full), dataset.items.height).scales(everybody)
    fitted = np.isin(np.arange(len(views)), views.full)
    first, *others = sorted(sizes)
    codes = {first: quantile_bins(scales[0], fitted, sizes[first])}
    for number, name in enumerate(others):
        codes[name] = quantile_bins(scales[-1], fitted, sizes[name], shift=number / max(len(others), 1))
    users = pl.Series("user_id", views.users, dtype=pl.String).gather(views.user)
    frame = pl.DataFrame({"user_id": users, "fold": views.without}).with_columns(
        pl.Series(name, codes[name], pl.UInt16) for name in sorted(sizes)
    )
    seen = frame.filter(pl.Series(everybody.lengths > 0)).sort("user_id", "fold")
    facets = tuple({"name": name, "size": sizes[name]} for name in sorted(sizes))
    return CodeTable(seen, {name: sizes[name] for name in sorted(sizes)}, folds, fold_seed, facets, "rating-bias")


CONTROLS: Final[dict[str, Control]] = {
    "mean-rating": mean_rating,
    "activity": activity_bins,
    "kmeans": kmeans,
    "genre-kmeans": genre_kmeans,
    "statistics": statistics,
    "statistics-mf": statistics_mf,
    "rating-bias": rating_bias,
}


def _all_bins(views: ControlViews, sizes: Mapping[str, int], first: Floats, second: Floats) -> dict[str, Codes]:
    """The first facet from `first`, all others from `second`."""
    names = sorted(sizes)
    codes = {names[0]: quantile_bins(first, views.fitted, sizes[names[0]])}
    others = names[1:]
    for number, name in enumerate(others):
        codes[name] = quantile_bins(second, views.fitted, sizes[name], shift=number / max(len(others), 1))
    return codes


def _all_clusters(views: ControlViews, sizes: Mapping[str, int], vectors: Floats, seed: int) -> dict[str, Codes]:
    """One k-means per facet, each of its own seed."""
    return {
        name: k_means(vectors, views.fitted, sizes[name], seed * len(sizes) + number)
        for number, name in enumerate(sorted(sizes))
    }


def _polarity_and_clusters(
    views: ControlViews, sizes: Mapping[str, int], vectors: Floats, seed: int
) -> dict[str, Codes]:
    first, *others = sorted(sizes)
    codes = {first: quantile_bins(polarity(views), views.fitted, sizes[first])}
    return codes | _all_clusters(views, {name: sizes[name] for name in others}, vectors, seed)


def _table(
    method: str, views: ControlViews, sizes: Mapping[str, int], fold_seed: int, codes: Mapping[str, Codes]
) -> CodeTable:
    names = sorted(sizes)
    frame = views.keys.select("user_id", "fold").with_columns(pl.Series(name, codes[name], pl.UInt16) for name in names)
    facets = tuple({"name": name, "size": sizes[name]} for name in names)
    return CodeTable(frame, {name: sizes[name] for name in names}, views.folds, fold_seed, facets, method)
