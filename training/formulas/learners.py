"""Small models over what is counted and over the item's columns: logistic regression, and boosted trees."""

import importlib
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_array, csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from userip.training.crossfit.histories import Ints
from userip.training.errors import ConfigError
from userip.training.formulas.ground import Asked, Floats, Ground, Scorer
from userip.training.formulas.logistic import logloss
from userip.training.formulas.numbers import ITEM_NUMBERS, LINEAR, USER_NUMBERS, numbers_of, numbers_of_train

STRENGTHS: Final = (0.003, 0.03, 0.3, 3.0)  # C of scikit-learn
LEAVES: Final = (7, 31)
TREES: Final = 2000  # at most: validation rows say when to stop
PATIENCE: Final = 50


class _Columns:
    """The first `count` numbers, standardised, and the item's attributes, as one sparse table."""

    def __init__(self, ground: Ground, count: int) -> None:
        table = ground.attributes
        self.ground, self.count = ground, count
        self.attributes = csr_array(np.concatenate([table, np.zeros((1, table.shape[1]), np.float32)]))
        numbers = numbers_of_train(ground)[:, :count]
        self.mean, self.spread = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 1e-9)
        self.train = self._joined(numbers, ground.train.items)

    def of(self, asked: Asked) -> csr_matrix:
        """Columns of rows."""
        return self._joined(numbers_of(self.ground, asked)[:, : self.count], asked.item)

    def _joined(self, numbers: Floats, item: Ints) -> csr_matrix:
        known = csr_array((numbers - self.mean) / self.spread)
        return csr_matrix(hstack([known, self.attributes[item]]))  # lightgbm converts arrays with a warning


def fit_lr(ground: Ground) -> Scorer:
    """Logistic regression, of the strength with the lowest loss of validation rows."""
    columns = _Columns(ground, LINEAR)
    if len(np.unique(ground.train.liked)) < 2:
        return lambda asked: np.zeros(len(asked.item))
    asked, labels = ground.valid
    shown = columns.of(asked)
    models = [LogisticRegression(C=one, max_iter=1000).fit(columns.train, ground.train.liked) for one in STRENGTHS]
    model = min(models, key=lambda one: logloss(one.decision_function(shown), labels))
    return lambda asked: np.asarray(model.decision_function(columns.of(asked)))


def fit_lightgbm(ground: Ground) -> Scorer:
    """Gradient boosting, of the size and number of trees with the lowest loss of validation rows.

    Raises ConfigError where lightgbm is not installed.
    """
    library = load_lightgbm()
    columns = _Columns(ground, len(ITEM_NUMBERS + USER_NUMBERS))
    asked, labels = ground.valid
    train = library.Dataset(columns.train, ground.train.liked, free_raw_data=False)
    valid = library.Dataset(columns.of(asked), labels, reference=train, free_raw_data=False)
    models = [
        library.train(
            _boosting(leaves), train, TREES, [valid], callbacks=[library.early_stopping(PATIENCE, verbose=False)]
        )
        for leaves in LEAVES
    ]
    model = min(models, key=lambda one: one.best_score["valid_0"]["binary_logloss"])
    return lambda asked: np.asarray(model.predict(columns.of(asked), raw_score=True), dtype=np.float64)


def load_lightgbm() -> Any:  # noqa: ANN401  (a module without types)
    """The library. Raises ConfigError where it is not installed."""
    try:
        return importlib.import_module("lightgbm")
    except ImportError:
        raise ConfigError("lightgbm is not installed: pip install 'userip[baselines]'") from None


def _boosting(leaves: int) -> dict[str, Any]:
    return {
        "objective": "binary", "metric": "binary_logloss", "learning_rate": 0.03, "num_leaves": leaves,
        "min_data_in_leaf": 50, "bagging_fraction": 0.8, "bagging_freq": 1, "feature_fraction": 0.8, "lambda_l2": 5.0,
        "seed": 0, "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
