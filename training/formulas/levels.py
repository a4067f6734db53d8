"""Formulas without taste: how easily an item is liked, and how easily a user likes."""

from userip.training.formulas.ground import Ground, Scorer
from userip.training.formulas.logistic import logistic
from userip.training.formulas.numbers import LINEAR, numbers_of, numbers_of_train


def fit_ease(ground: Ground) -> Scorer:
    """b_i of the Rasch model: one order of items for everybody."""
    return lambda asked: numbers_of(ground, asked)[:, 0]


def fit_generosity(ground: Ground) -> Scorer:
    """b_i + c_u."""
    return lambda asked: numbers_of(ground, asked)[:, [0, 3]].sum(axis=1)


def fit_judging(ground: Ground) -> Scorer:
    """Logistic regression on all that is counted of items and users."""
    *weights, shift = logistic(numbers_of_train(ground)[:, :LINEAR], ground.train.liked)
    return lambda asked: numbers_of(ground, asked)[:, :LINEAR] @ weights + shift
