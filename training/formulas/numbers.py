"""What is counted of items and users: cross-fitted for train rows, from whole histories for all others.

A train row's item is judged by the users of other groups, and its user by their rows of other folds, so no label tells
of itself. A held-out user's rows, which no statistic has seen, are told the same of items as they will be served.
"""

from functools import lru_cache
from typing import Final

import numpy as np

from userip.training.crossfit.histories import Histories, Ints
from userip.training.formulas.ground import FOLDS, Asked, Floats, Ground
from userip.training.judging.attributes import told_by_attributes
from userip.training.judging.level import SURE

ITEM_NUMBERS: Final = ("ease", "stars", "log known")
USER_NUMBERS: Final = ("generosity", "sure generosity", "warmth", "log-odds of likes", "log length")
LINEAR: Final = 7  # of these: lengths, which held-out users may have quite others of, are for trees alone


def numbers_of(ground: Ground, asked: Asked) -> Floats:
    """Item numbers, then user numbers, of rows: float64 [n, 8]."""
    users = _of_everyone(ground)
    return np.concatenate([item_numbers(ground, ground.group[asked.user], asked.item), users[asked.user]], axis=1)


def numbers_of_train(ground: Ground) -> Floats:
    """The same of train rows, each without itself: float64 [n, 8]."""
    train, group = ground.train, ground.group[: len(ground.train)]
    users = np.zeros((len(train.items), len(USER_NUMBERS)))
    for fold in range(FOLDS):
        inside = ground.fold == fold
        found = _of_users(ground, train.keep(~inside), group, FOLDS / (FOLDS - 1))
        users[inside] = found[train.owner[inside]]
    return np.concatenate([item_numbers(ground, group[train.owner], train.items), users], axis=1)


def item_numbers(ground: Ground, group: Ints, item: Ints) -> Floats:
    """Of items [n] for who is told what `group` [n] is told: float64 [n, 3]; an unknown item (-1) has means."""
    return _item_tables(ground)[group, item]


@lru_cache(maxsize=1)
def _item_tables(ground: Ground) -> Floats:
    """What each group is told of every item and, last, of an unknown one: float64 [GROUPS + 1, I + 1, 3].

    Of items that nobody else has met, attributes tell ease and stars.
    """
    of_rows, tables = ground.group[ground.train.owner], []
    for one, said in enumerate(ground.said):
        met = np.bincount(ground.train.items[of_rows != one], minlength=ground.items).astype(np.float64)
        stars = np.zeros(ground.items) if said.stars is None else said.stars
        told = [*(told_by_attributes(values, ground.attributes, met) for values in (said.ease, stars)), ground.known]
        tables.append(np.stack([_with_mean(values) for values in told], axis=1))
    return np.stack(tables)


@lru_cache(maxsize=1)
def _of_everyone(ground: Ground) -> Floats:
    """User numbers of everybody's whole history: all formulas of a data set ask for them, again and again."""
    return _of_users(ground, ground.everyone, ground.group, 1.0)


def _of_users(ground: Ground, histories: Histories, group: Ints, scale: float) -> Floats:
    """User numbers of histories [U], which are told of items what `group` [U] is: float64 [U, 5].

    scale: what a history's length counts for, where a part of it is left out.
    """
    numbers = np.zeros((len(histories), len(USER_NUMBERS)))
    for one, (said, (a, b)) in enumerate(zip(ground.said, ground.prior, strict=True)):
        users = np.flatnonzero(group == one)
        part = histories.of(users)
        generosity, *warmth = said.scales(part)
        likes = np.bincount(part.owner[part.liked], minlength=len(part)) * scale
        length = part.lengths * scale
        numbers[users, 0] = generosity
        numbers[users, 1] = generosity * np.minimum(1.0, np.log1p(length) / SURE)
        numbers[users, 2] = warmth[0] if warmth else 0.0
        numbers[users, 3] = np.log((likes + a) / (length - likes + b)) - np.log(a / b)
        numbers[users, 4] = np.log1p(length)
    return numbers


def _with_mean(values: Floats) -> Floats:
    return np.append(values, values.mean() if len(values) else 0.0)
