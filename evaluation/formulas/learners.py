"""Small models over counts: logistic regression on four numbers, and boosted trees on these and the item's columns."""

import numpy as np
from numpy.typing import NDArray

from userip.evaluation.formulas.ground import FOLDS, Asked, Floats, Ground, Scorer, logistic
from userip.evaluation.formulas.tastes import LEAST_ITEMS
from userip.training.errors import ConfigError
from userip.training.judging.attributes import attributes_of
from userip.training.judging.judgements import Judgements


def fit_lr(ground: Ground) -> Scorer:
    """Logistic regression on ease, the item's stars, generosity and warmth."""
    numbers, labels = _train_numbers(ground)
    weights = logistic(numbers[:, :4], labels)
    users = _users(ground)
    return lambda asked: _numbers(ground, users, asked)[:, :4] @ weights[:4] + weights[4]


def fit_lightgbm(ground: Ground) -> Scorer:
    """Gradient boosting on these numbers, how long a history is, how known an item is, and its attributes.

    Raises ConfigError where lightgbm is not installed.
    """
    try:
        from lightgbm import LGBMClassifier, early_stopping, log_evaluation
    except ModuleNotFoundError:
        raise ConfigError("lightgbm is not installed: pip install 'userip[baselines]'") from None
    table, _ = attributes_of(ground.dataset.items, ground.dataset.info.attributes, LEAST_ITEMS)
    padded = np.concatenate([table, np.zeros((1, table.shape[1]), np.float32)])
    users = _users(ground)

    def columns(asked: Asked) -> Floats:
        return np.concatenate([_numbers(ground, users, asked), padded[asked.item]], axis=1)

    numbers, labels = _train_numbers(ground)
    asked, wanted = ground.valid
    model = LGBMClassifier(
        n_estimators=2000, learning_rate=0.03, num_leaves=15, min_child_samples=50, subsample=0.8, subsample_freq=1,
        colsample_bytree=0.8, reg_lambda=5.0, random_state=0, n_jobs=1, deterministic=True, force_row_wise=True,
        verbose=-1,
    )  # fmt: skip
    model.fit(
        np.concatenate([numbers, padded[ground.train.items]], axis=1), labels,
        eval_set=[(columns(asked), wanted)], callbacks=[early_stopping(50, verbose=False), log_evaluation(0)],
    )  # fmt: skip
    return lambda asked: np.asarray(model.predict(columns(asked), raw_score=True), dtype=np.float64)


def _users(ground: Ground) -> Floats:
    """Generosity, warmth and log length of everyone's whole history: float64 [U + 1, 3]."""
    return _scales(ground.said, ground)


def _scales(said: Judgements, ground: Ground) -> Floats:
    found = said.scales(ground.everyone)
    warmth = found[1] if len(found) > 1 else np.zeros(len(ground.everyone))
    return np.stack([found[0], warmth, np.log1p(ground.everyone.lengths)], axis=1)


def _numbers(ground: Ground, users: Floats, asked: Asked) -> Floats:
    """ease, stars, generosity, warmth, log length, how known: float64 [n, 6]."""
    stars = ground.said.stars if ground.said.stars is not None else np.zeros(len(ground.said.ease))
    columns = [ground.of_items(values, asked) for values in (ground.said.ease, stars, ground.known)]
    mine = users[asked.user]
    return np.stack([columns[0], columns[1], *mine.T, columns[2]], axis=1)


def _train_numbers(ground: Ground) -> tuple[Floats, NDArray[np.bool_]]:
    """The same for train rows, told by rows of the other folds alone: items by everybody's, users by their own."""
    train, fold = ground.train, ground.views.fold[ground.views.histories.places(ground.views.full)]
    numbers = np.zeros((len(train.items), 6))
    for one in range(FOLDS):
        rest, inside = train.keep(fold != one), fold == one
        said = Judgements.fit(rest, ground.dataset.items.height)
        found = said.scales(rest)
        warmth = found[1] if len(found) > 1 else np.zeros(len(rest))
        length = np.log1p(rest.lengths * FOLDS / (FOLDS - 1))
        users, items = train.owner[inside], train.items[inside]
        stars = said.stars if said.stars is not None else np.zeros(len(said.ease))
        numbers[inside] = np.stack(
            [said.ease[items], stars[items], found[0][users], warmth[users], length[users], ground.known[items]], axis=1
        )
    return numbers, train.liked
