"""How good probabilities are (docs/method.md#measures): ranking within a user, calibration, AUC over all rows.

Labels are bool or 0/1 [n], probabilities float [n]. A figure that is not defined (AUC of one class) is NaN. Everything
is one sort and sums along it: n log n time, some arrays of n.
"""

from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CLIP: Final = 1e-7  # probabilities are kept this far from 0 and 1 before a logarithm is taken
BINS: Final = 10
Measure = Literal["gauc", "ndcg_5", "ndcg_10", "auc"]  # of an order, which may be resampled
CUTS: Final = (5, 10)  # ranks that NDCG looks at


class Within(NamedTuple):
    """Measures of every user with rows of both labels; the others cannot be ranked rightly or wrongly.

    user     int64 [U]: place among all users, ascending
    rows     int64 [U]: how many rows they have
    auc      float64 [U]: P(score of a positive of theirs > score of a negative), ties counting one half
    ndcg     cut -> float64 [U]: DCG of the first `cut` places over the best that there is, gains 0 or 1, discounts
             1 / log2(place + 1); rows of one score share the mean of their places' discounts, which is what an order
             drawn among them gives in expectation
    left_out how many users have rows of one label only
    """

    user: NDArray[np.int64]
    rows: NDArray[np.int64]
    auc: NDArray[np.float64]
    ndcg: dict[int, NDArray[np.float64]]
    left_out: int

    def weighted(self, measure: Measure) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values and weights [U] of a measure: GAUC weighs users by rows, NDCG counts each once."""
        if measure == "gauc":
            return self.auc, self.rows.astype(np.float64)
        return self.ndcg[int(measure.removeprefix("ndcg_"))], np.ones(len(self.rows))

    def mean(self, measure: Measure) -> float:
        """Over users; NaN where there are none."""
        value, weight = self.weighted(measure)
        return float(np.average(value, weights=weight)) if len(value) else float("nan")


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties counting one half."""
    labels = np.asarray(labels, dtype=bool)
    found = _within(np.zeros(len(labels), dtype=np.int64), labels, np.asarray(scores), ())
    return float(found.auc[0]) if len(found.auc) else float("nan")


def within_users(users: ArrayLike, labels: ArrayLike, scores: ArrayLike) -> Within:
    """How rows are ranked within each user; users are of any kind that sorts."""
    _, inverse = np.unique(np.asarray(users), return_inverse=True)
    return _within(inverse, np.asarray(labels, dtype=bool), np.asarray(scores), CUTS)


def logloss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean binary cross-entropy in nats, probabilities clipped to [1e-7, 1 - 1e-7]."""
    labels = np.asarray(labels, dtype=bool)
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), CLIP, 1 - CLIP)
    return float(-np.mean(np.log(np.where(labels, clipped, 1 - clipped)))) if len(labels) else float("nan")


def ece(labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error over equal-width bins: sum of share x |mean label - mean probability|."""
    labels = np.asarray(labels, dtype=np.float64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if not len(labels):
        return float("nan")
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights=labels - probabilities, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def evaluate(users: ArrayLike, labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """All figures of one part of the data, as they stand in `metrics.json`.

    gauc is weighted by the users' rows; every user counts once in ndcg_5 and ndcg_10. Both are of `ranked_users`, those
    with rows of both labels; `one_label_users` have none.
    """
    found = within_users(users, labels, probabilities)
    return {
        "gauc": found.mean("gauc"),
        "ndcg_5": found.mean("ndcg_5"),
        "ndcg_10": found.mean("ndcg_10"),
        "logloss": logloss(labels, probabilities),
        "ece": ece(labels, probabilities),
        "auc": auc(labels, probabilities),
        "ranked_users": float(len(found.user)),
        "one_label_users": float(found.left_out),
    }


def rela_impr_auc(model: float, base: float) -> float:
    """Eq. 10, in percent: how much more of the way from 0.5 the model goes than the base."""
    return ((model - 0.5) / (base - 0.5) - 1.0) * 100.0


def rela_impr_logloss(model: float, base: float) -> float:
    """Eq. 11, in percent: the base's logloss over the model's, minus one."""
    return (base / model - 1.0) * 100.0


def _within(
    groups: NDArray[np.int64], labels: NDArray[np.bool_], scores: NDArray[np.generic], cuts: tuple[int, ...]
) -> Within:
    """Of every group with both labels: AUC from the average ranks of its positives, and NDCG at `cuts`."""
    if not len(labels):
        nothing = np.empty(0)
        return Within(np.empty(0, np.int64), np.empty(0, np.int64), nothing, dict.fromkeys(cuts, nothing), 0)
    order = np.lexsort((scores, groups))
    groups, labels, scores = groups[order], labels[order], scores[order]
    places = np.arange(len(labels))
    new_group = np.concatenate([[True], groups[1:] != groups[:-1]])
    new_block = new_group | np.concatenate([[True], scores[1:] != scores[:-1]])  # equal scores share a block
    block = np.cumsum(new_block) - 1
    first = places[new_block]
    last = np.concatenate([first[1:] - 1, [len(labels) - 1]])
    group = np.cumsum(new_group) - 1
    ranks = ((first + last) / 2)[block] - places[new_group][group] + 1.0
    rows = np.bincount(group)
    positives = np.bincount(group, weights=labels)
    negatives = rows - positives
    rank_sums = np.bincount(group, weights=ranks * labels)
    both = (positives > 0) & (negatives > 0)
    p, n = positives[both], negatives[both]
    aucs = (rank_sums[both] - p * (p + 1) / 2) / (p * n)
    end = (places[new_group] + rows)[group[new_block]]  # of the block's group: the best place is its last row
    ndcg = {}
    for cut in cuts:
        best = _discounts(int(rows.max()), cut)  # of the first k places together
        shared = (best[end - first] - best[end - 1 - last]) / (last - first + 1)
        gains = np.bincount(group, weights=shared[block] * labels)
        ndcg[cut] = gains[both] / best[positives[both].astype(np.int64)]
    return Within(groups[new_group][both], rows[both], aucs, ndcg, int((~both).sum()))


def _discounts(rows: int, cut: int) -> NDArray[np.float64]:
    """Sum of the discounts of the first k places, k = 0 .. rows; none behind `cut`."""
    place = np.arange(1, rows + 1)
    return np.concatenate([[0.0], np.cumsum(np.where(place <= cut, 1 / np.log2(place + 1), 0.0))])
