"""What all formulas stand on: histories, what is said of items, and the rows that are asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.evaluation.results import Predictions
from userip.training.crossfit.histories import Histories, Ints, catalogue_rows
from userip.training.crossfit.views import CrossFitViews
from userip.training.data.dataset import Dataset
from userip.training.judging.judgements import Judgements

Floats = NDArray[np.float64]
FOLDS: Final = 5  # of a train user's rows: what a row is told by lies in the others
ANY_LENGTH: Final = 1 << 40


@dataclass(frozen=True, eq=False)
class Asked:
    """Rows to score. user int64 [n]: a place in `Ground.everyone`, the last for a stranger; item: -1 is unknown."""

    user: Ints
    item: Ints


# Logits, up to scale and shift, of rows: float64 [n]
Scorer = Callable[[Asked], Floats]


@dataclass(frozen=True, eq=False)
class Ground:
    """A data set as formulas see it."""

    dataset: Dataset

    @cached_property
    def views(self) -> CrossFitViews:
        """Train users first, then those held out; the fold of every interaction."""
        return CrossFitViews.of(self.dataset, FOLDS, 0, ANY_LENGTH)

    @cached_property
    def train(self) -> Histories:
        """Train users' whole histories."""
        return self.views.histories.of(self.views.full)

    @cached_property
    def everyone(self) -> Histories:
        """Histories of train users, of held-out users, and one that is empty: a stranger's."""
        empty = Histories(np.zeros(2, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
        return self.views.histories.then(empty)

    @cached_property
    def said(self) -> Judgements:
        """What train users say of items."""
        return Judgements.fit(self.train, self.dataset.items.height)

    @cached_property
    def known(self) -> Floats:
        """Log of how often train users met an item: float64 [I]."""
        met = np.bincount(self.train.items, minlength=self.dataset.items.height)
        return np.log(np.maximum(met, 1.0))

    @cached_property
    def valid(self) -> tuple[Asked, NDArray[np.bool_]]:
        """Validation rows and their labels."""
        rows = self.dataset.rows("valid")
        return self.asked(rows), rows["label"].to_numpy()

    def asked(self, rows: pl.DataFrame) -> Asked:
        """Rows (user_id, item_id) by place."""
        users = pl.DataFrame({"user_id": self.views.users}, schema={"user_id": pl.String}).with_row_index("user")
        place = rows.select("user_id").join(users, on="user_id", how="left", maintain_order="left")["user"]
        item = catalogue_rows(self.dataset.items, rows["item_id"])
        return Asked(
            place.cast(pl.Int64).fill_null(len(self.views.users)).to_numpy(),
            item.cast(pl.Int64).fill_null(-1).to_numpy(),
        )

    def of_items(self, values: Floats, asked: Asked) -> Floats:
        """Values [I] at the items of rows; an unknown item has their mean."""
        return np.append(values, values.mean() if len(values) else 0.0)[asked.item]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A formula whose scores are turned into probabilities on validation rows."""

    ground: Ground
    scorer: Scorer
    scale: float
    shift: float

    @classmethod
    def of(cls, ground: Ground, scorer: Scorer) -> "Fitted":
        """Fit scale and shift."""
        asked, labels = ground.valid
        weights = logistic(scorer(asked)[:, None], labels)
        return cls(ground, scorer, float(weights[0]), float(weights[1]))

    def predict(self, interactions: pl.DataFrame) -> Predictions:
        """Click probabilities float32 [n]."""
        logit = self.scale * self.scorer(self.ground.asked(interactions)) + self.shift
        return (1 / (1 + np.exp(-np.clip(logit, -30, 30)))).astype(np.float32)


def logistic(features: Floats, labels: NDArray[np.bool_]) -> Floats:
    """Weights of a logistic regression on few columns [n, c], the last for a column of ones: float64 [c + 1]."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        return np.append(np.zeros(features.shape[1]), 0.0)
    spread = np.maximum(features.std(axis=0), 1e-9)
    found = LogisticRegression(C=100.0, max_iter=1000).fit(features / spread, labels)
    return np.append(found.coef_[0] / spread, found.intercept_[0])


def logloss(logits: Floats, labels: NDArray[np.bool_]) -> float:
    """In nats."""
    return float(np.mean(np.logaddexp(0, np.where(labels, -logits, logits))))
