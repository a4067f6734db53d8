"""Tastes in closed form: ridge of a user's residuals over item vectors, and EASE on residuals.

r_ui = y_ui - mu - b_u - b_i, shrunk means. A user's taste is w_u = (X_u^T X_u + lambda I)^-1 X_u^T r_u over their
history; the score is  a level + s <w_u, x_i>,  the level being that of a formula without taste. lambda and s are chosen
on validation rows: no taste where none lowers their loss.
"""

from collections.abc import Iterable
from functools import partial
from typing import Final

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from userip.training.crossfit.histories import Histories
from userip.training.errors import ConfigError
from userip.training.formulas.ground import Asked, Floats, Ground, Scorer
from userip.training.formulas.item_vectors import Residuals, attribute_vectors, factor_vectors, ridges
from userip.training.formulas.levels import fit_generosity, fit_judging
from userip.training.formulas.logistic import logistic, logloss

STRENGTHS: Final = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
EASE_STRENGTHS: Final = (100.0, 300.0, 1000.0)
MOST_ITEMS: Final = 10_000  # of EASE, which inverts a matrix of items by items
USERS_AT_ONCE: Final = 1024


def fit_attributes(ground: Ground) -> Scorer:
    """Over the principal components of the catalogue's attributes."""
    return _ridge(ground, fit_generosity(ground), attribute_vectors(ground))


def fit_als(ground: Ground) -> Scorer:
    """Over factors of the train residuals."""
    return _ridge(ground, fit_generosity(ground), factor_vectors(ground))


def fit_both(ground: Ground) -> Scorer:
    """Over both."""
    vectors = np.concatenate([attribute_vectors(ground), factor_vectors(ground)], axis=1)
    return _ridge(ground, fit_generosity(ground), vectors)


def fit_judging_taste(ground: Ground) -> Scorer:
    """Over attributes, beside all that is counted."""
    return _ridge(ground, fit_judging(ground), attribute_vectors(ground))


def fit_ease_items(ground: Ground) -> Scorer:
    """EASE: each item's residual from those of the others, by ridge with a zero diagonal.

    Raises ConfigError for a catalogue that is too large.
    """
    if ground.items > MOST_ITEMS:
        raise ConfigError(f"EASE inverts a matrix of items by items: {ground.items:,} are more than {MOST_ITEMS:,}")
    residuals = Residuals.fit(ground.train, ground.items)
    seen = _matrix(ground.train, residuals.of(ground.train), ground.items)
    gram = (seen.T @ seen).toarray()
    mine = _matrix(ground.everyone, residuals.of(ground.everyone), ground.items)

    def tastes() -> Iterable[Scorer]:
        for strength in EASE_STRENGTHS:
            with threadpool_limits(1):
                inverse = np.linalg.inv(gram + strength * np.eye(ground.items, dtype=np.float32))
            weights = inverse / -np.diag(inverse)
            np.fill_diagonal(weights, 0.0)
            yield partial(_products, mine, weights)

    return _best(ground, fit_generosity(ground), tastes())


def _products(mine: csr_array, weights: Floats, asked: Asked) -> Floats:
    """Elements (user, item) of mine @ weights, 0 for an unknown item: float64 [n]."""
    users, place = np.unique(asked.user, return_inverse=True)
    found = np.zeros(len(place))
    for begin in range(0, len(users), USERS_AT_ONCE):
        rows = (place >= begin) & (place < begin + USERS_AT_ONCE) & (asked.item >= 0)
        whole = mine[users[begin : begin + USERS_AT_ONCE]] @ weights
        found[rows] = whole[place[rows] - begin, asked.item[rows]]
    return found


def _ridge(ground: Ground, level: Scorer, vectors: Floats) -> Scorer:
    histories = ground.everyone
    r = Residuals.fit(ground.train, ground.items).of(histories)
    padded = np.concatenate([vectors, np.zeros((1, vectors.shape[1]))])

    def taste(strength: float, asked: Asked) -> Floats:
        users, place = np.unique(asked.user, return_inverse=True)
        part = histories.of(users)
        w = ridges(part.offsets, vectors[part.items], r[histories.places(users)], strength)
        return np.asarray(np.einsum("nk,nk->n", w[place], padded[asked.item]))

    return _best(ground, level, (partial(taste, one) for one in STRENGTHS))


def _best(ground: Ground, level: Scorer, tastes: Iterable[Scorer]) -> Scorer:
    """Level plus s times a taste, with the taste and the s > 0 of the lowest loss of validation rows."""
    asked, labels = ground.valid
    base = level(asked)
    scale, shift = logistic(base[:, None], labels)
    lowest, chosen = logloss(base * scale + shift, labels), level
    for taste in tastes:
        features = np.stack([base, taste(asked)], axis=1)
        *weights, shift = logistic(features, labels)
        loss = logloss(features @ weights + shift, labels)
        if loss < lowest and min(weights) > 0:
            lowest, chosen = loss, _sum(level, taste, weights)
    return chosen


def _sum(level: Scorer, taste: Scorer, weights: list[float]) -> Scorer:
    return lambda asked: weights[0] * level(asked) + weights[1] * taste(asked)


def _matrix(histories: Histories, values: Floats, items: int) -> csr_array:
    """Values as a sparse float32 [U, I]."""
    places = (histories.owner, histories.items)
    return csr_array((values.astype(np.float32), places), shape=(len(histories), items))
