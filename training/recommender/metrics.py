"""How good probabilities are: AUC, GAUC, logloss, ECE, and the relative improvements of docs/method.md#measures.

Labels are bool or 0/1 [n], probabilities float [n]. A figure that is not defined (AUC of one class) is NaN.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

CLIP: Final = 1e-7  # probabilities are kept this far from 0 and 1 before a logarithm is taken
BINS: Final = 10


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties counting one half."""
    labels = np.asarray(labels, dtype=bool)
    _, values, _ = _group_aucs(np.zeros(len(labels), dtype=np.int64), labels, np.asarray(scores))
    return float(values[0]) if len(values) else float("nan")


def gauc(users: ArrayLike, labels: ArrayLike, scores: ArrayLike) -> float:
    """AUC within each user, averaged with the user's number of rows as weight.

    Users whose rows all have one label have no AUC and are left out.
    """
    _, inverse = np.unique(np.asarray(users), return_inverse=True)
    _, values, counts = _group_aucs(inverse, np.asarray(labels, dtype=bool), np.asarray(scores))
    return float(np.average(values, weights=counts)) if len(values) else float("nan")


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
    """All figures of one part of the data, as they stand in `metrics.json`."""
    return {
        "auc": auc(labels, probabilities),
        "logloss": logloss(labels, probabilities),
        "gauc": gauc(users, labels, probabilities),
        "ece": ece(labels, probabilities),
    }


def rela_impr_auc(model: float, base: float) -> float:
    """Eq. 10, in percent: how much more of the way from 0.5 the model goes than the base."""
    return ((model - 0.5) / (base - 0.5) - 1.0) * 100.0


def rela_impr_logloss(model: float, base: float) -> float:
    """Eq. 11, in percent: the base's logloss over the model's, minus one."""
    return (base / model - 1.0) * 100.0


def _group_aucs(
    groups: NDArray[np.int64], labels: NDArray[np.bool_], scores: NDArray[np.generic]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """(group, AUC, rows) of every group with both labels, from the average ranks of its positives."""
    if not len(labels):
        return np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
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
    return groups[new_group][both], (rank_sums[both] - p * (p + 1) / 2) / (p * n), rows[both]
