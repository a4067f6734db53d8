"""Closed-form tastes: ridge of a user's residuals over item vectors, and EASE on residuals.

r_ui = y_ui - mu - b_u - b_i, shrunk means. A user's taste is w_u = (X_u^T X_u + lambda I)^-1 X_u^T r_u over their
history; the score is  ease + generosity + s <w_u, x_i>. lambda and s are chosen on validation rows.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from userip.evaluation.formulas.ground import Asked, Floats, Ground, Scorer, logistic, logloss
from userip.evaluation.formulas.levels import fit_generosity
from userip.training.crossfit.histories import Histories
from userip.training.judging.attributes import attributes_of

SHRINKAGE: Final = 3.0
SWEEPS: Final = 10
STRENGTHS: Final = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
COMPONENTS: Final = 24
FACTORS: Final = 8
LEAST_ITEMS: Final = 10
EASE_STRENGTHS: Final = (100.0, 1000.0)


@dataclass(frozen=True, eq=False)
class Residuals:
    """Likes less what item and user explain. mean float, items float64 [I]: fitted to train rows."""

    mean: float
    items: Floats

    @classmethod
    def fit(cls, train: Histories, items: int) -> "Residuals":
        """Alternate over users and items."""
        mean = float(train.liked.mean())
        b_user, b_item = np.zeros(len(train)), np.zeros(items)
        for _ in range(SWEEPS):
            b_user = _shrunk(train.owner, train.liked - mean - b_item[train.items], len(train))
            b_item = _shrunk(train.items, train.liked - mean - b_user[train.owner], items)
        return cls(mean, b_item)

    def of(self, histories: Histories) -> Floats:
        """r of every interaction: float64 [n]."""
        left = histories.liked - self.mean - self.items[histories.items]
        return np.asarray(left - _shrunk(histories.owner, left, len(histories))[histories.owner])


def fit_attributes(ground: Ground) -> Scorer:
    """Over the principal components of the catalogue's attributes."""
    return _ridge(ground, _components(ground))


def fit_als(ground: Ground) -> Scorer:
    """Over factors of the train residuals."""
    return _ridge(ground, _factors(ground))


def fit_both(ground: Ground) -> Scorer:
    """Over both."""
    return _ridge(ground, np.concatenate([_components(ground), _factors(ground)], axis=1))


def fit_ease_items(ground: Ground) -> Scorer:
    """EASE: each item's residual from those of the others, by ridge with a zero diagonal."""
    items = ground.dataset.items.height
    residuals = Residuals.fit(ground.train, items)
    r = _matrix(ground.train, residuals.of(ground.train), items)
    gram = (r.T @ r).toarray()
    mine = _matrix(ground.everyone, residuals.of(ground.everyone), items)

    def tastes() -> Iterable[Callable[[Asked], Floats]]:
        for strength in EASE_STRENGTHS:
            inverse = np.linalg.inv(gram + strength * np.eye(items))
            weights = -inverse / np.diag(inverse)
            np.fill_diagonal(weights, 0.0)
            whole = mine @ weights  # [U, I]
            yield partial(_picked, whole)

    return _best(ground, tastes())


def _ridge(ground: Ground, vectors: Floats) -> Scorer:
    histories = ground.everyone
    r = Residuals.fit(ground.train, ground.dataset.items.height).of(histories)
    x, width = vectors[histories.items], vectors.shape[1]
    gram, pull = np.zeros((len(histories), width, width)), np.zeros((len(histories), width))
    for user, (begin, end) in enumerate(zip(histories.offsets[:-1], histories.offsets[1:], strict=True)):
        part = x[begin:end]
        gram[user], pull[user] = part.T @ part, part.T @ r[begin:end]
    padded = np.concatenate([vectors, np.zeros((1, width))])

    def tastes() -> Iterable[Callable[[Asked], Floats]]:
        for strength in STRENGTHS:
            w: Floats = np.linalg.solve(gram + strength * np.eye(width), pull[:, :, None])[:, :, 0].astype(np.float64)
            yield partial(_products, w, padded)

    return _best(ground, tastes())


def _picked(whole: Floats, asked: Asked) -> Floats:
    return np.where(asked.item < 0, 0.0, whole[asked.user, asked.item])


def _products(users: Floats, items: Floats, asked: Asked) -> Floats:
    return np.asarray(np.einsum("nk,nk->n", users[asked.user], items[asked.item]))


def _best(ground: Ground, tastes: Iterable[Callable[[Asked], Floats]]) -> Scorer:
    """ease + generosity + s taste, with the taste and the s of the lowest loss on validation rows."""
    level = fit_generosity(ground)
    asked, labels = ground.valid
    base = level(asked)
    best: tuple[float, Callable[[Asked], Floats], Floats] | None = None
    for taste in tastes:
        features = np.stack([base, taste(asked)], axis=1)
        weights = logistic(features, labels)
        loss = logloss(features @ weights[:2] + weights[2], labels)
        if best is None or loss < best[0]:
            best = loss, taste, weights
    assert best is not None
    _, chosen, weights = best
    return lambda asked: weights[0] * level(asked) + weights[1] * chosen(asked)


def _components(ground: Ground) -> Floats:
    """Principal components of attributes, each of variance 1: float64 [I, at most 24]."""
    table, _ = attributes_of(ground.dataset.items, ground.dataset.info.attributes, LEAST_ITEMS)
    centred = table.astype(np.float64) - table.mean(axis=0)
    if not table.shape[1]:
        return np.zeros((len(table), 1))
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return _standard((u * s)[:, : min(COMPONENTS, int((s > 1e-6).sum()) or 1)])


def _factors(ground: Ground, rounds: int = 10, strength: float = 10.0) -> Floats:
    """Item factors of the train residuals by alternating least squares, each of variance 1: float64 [I, 8]."""
    train, items = ground.train, ground.dataset.items.height
    r = Residuals.fit(train, items).of(train)
    q = np.random.default_rng(0).normal(0, 0.1, (items, FACTORS))
    for _ in range(rounds):
        p = _solved(train.owner, q[train.items], r, len(train), strength)
        q = _solved(train.items, p[train.owner], r, items, strength)
    return _standard(q)


def _solved(group: NDArray[np.int64], x: Floats, r: Floats, groups: int, strength: float) -> Floats:
    """Ridge of r on x in each group: float64 [groups, k]."""
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=groups))
    found = np.zeros((groups, x.shape[1]))
    for one, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if end > begin:
            part = x[order[begin:end]]
            found[one] = np.linalg.solve(part.T @ part + strength * np.eye(x.shape[1]), part.T @ r[order[begin:end]])
    return found


def _standard(values: Floats) -> Floats:
    return np.asarray((values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9))


def _shrunk(group: NDArray[np.int64], values: Floats, groups: int) -> Floats:
    total = np.bincount(group, weights=values, minlength=groups)
    return np.asarray(total / (np.bincount(group, minlength=groups) + SHRINKAGE))


def _matrix(histories: Histories, values: Floats, items: int) -> Any:  # noqa: ANN401  (scipy has no types)
    """A sparse [U, I] of values."""
    from scipy.sparse import csr_matrix

    return csr_matrix((values, (histories.owner, histories.items)), shape=(len(histories), items))
