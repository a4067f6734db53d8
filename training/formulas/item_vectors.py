"""Where items stand: by their attributes, and by who likes them more than item and user explain."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from userip.training.crossfit.histories import Histories, Ints
from userip.training.formulas.ground import Floats, Ground
from userip.training.judging.judgements import shrunk

SWEEPS: Final = 10
COMPONENTS: Final = 24
FACTORS: Final = 8


@dataclass(frozen=True, eq=False)
class Residuals:
    """Likes less what item and user explain. mean, and items float64 [I]: fitted to train rows."""

    mean: float
    items: Floats

    @classmethod
    def fit(cls, train: Histories, items: int) -> "Residuals":
        """Shrunk means, alternating over users and items."""
        mean = float(train.liked.mean()) if len(train.items) else 0.5
        user, item = np.zeros(len(train)), np.zeros(items)
        for _ in range(SWEEPS):
            user = shrunk(train.owner, train.liked - mean - item[train.items], len(train))
            item = shrunk(train.items, train.liked - mean - user[train.owner], items)
        return cls(mean, item)

    def of(self, histories: Histories) -> Floats:
        """y - mean - b_i - b_u of every interaction: float64 [n]."""
        left = histories.liked - self.mean - self.items[histories.items]
        return np.asarray(left - shrunk(histories.owner, left, len(histories))[histories.owner])


def attribute_vectors(ground: Ground) -> Floats:
    """Principal components of the catalogue's attributes, each of variance 1: float64 [I, at most 24]."""
    centred = ground.attributes - ground.attributes.mean(axis=0)
    with threadpool_limits(1):  # sums, and so bytes, stay the same
        values, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
        main = [place for place in np.argsort(-values)[:COMPONENTS] if values[place] > 1e-3]
        return _standard(centred @ axes[:, main])


def factor_vectors(ground: Ground, rounds: int = 10, strength: float = 10.0) -> Floats:
    """Factors of the train residuals by alternating least squares, each of variance 1: float64 [I, 8]."""
    train = ground.train
    r = Residuals.fit(train, ground.items).of(train)
    by_item = np.argsort(train.items, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(train.items, minlength=ground.items))])
    q = np.random.default_rng(0).normal(0, 0.1, (ground.items, FACTORS))
    for _ in range(rounds):
        p = ridges(train.offsets, q[train.items], r, strength)
        q = ridges(ends, p[train.owner[by_item]], r[by_item], strength)
    return _standard(q)


def ridges(offsets: Ints, x: Floats, r: Floats, strength: float) -> Floats:
    """(X^T X + strength I)^-1 X^T r of every group, rows [offsets[g], offsets[g + 1]): float64 [G, k]."""
    width = x.shape[1]
    found = np.zeros((len(offsets) - 1, width))
    prior = strength * np.eye(width)
    with threadpool_limits(1):
        for one, (begin, end) in enumerate(pairwise(offsets)):
            if end > begin:
                part = x[begin:end]
                found[one] = np.linalg.solve(part.T @ part + prior, part.T @ r[begin:end])
    return found


def _standard(values: Floats) -> Floats:
    return np.asarray((values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9))
