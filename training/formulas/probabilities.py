"""From scores to probabilities, and which formula is the best."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.training.data.dataset import Dataset
from userip.training.formulas import FORMULAS
from userip.training.formulas.ground import Asked, Floats, Ground, Scorer
from userip.training.formulas.logistic import logistic, logloss


@dataclass(frozen=True, eq=False)
class FittedFormula:
    """A formula whose scores are probabilities by scale and shift, fitted to validation rows."""

    name: str
    ground: Ground
    scorer: Scorer
    scale: float
    shift: float

    @classmethod
    def fit(cls, name: str, ground: Ground) -> "FittedFormula":
        """Fit the formula of that name. Raises ConfigError where a library that it needs is not installed."""
        scorer = FORMULAS[name](ground)
        asked, labels = ground.valid
        scores = scorer(asked)[:, None]
        scale, shift = logistic(scores, labels)
        if scale < 0:  # validation rows say that it knows nothing: they are too few to turn an order round
            scale, shift = logistic(0 * scores, labels)
        return cls(name, ground, scorer, float(scale), float(shift))

    def predict(self, interactions: pl.DataFrame) -> NDArray[np.float32]:
        """Click probabilities float32 [n]."""
        logits = self.logits(self.ground.asked(interactions))
        return (1 / (1 + np.exp(-np.clip(logits, -30, 30)))).astype(np.float32)

    def logits(self, asked: Asked) -> Floats:
        """float64 [n]."""
        return np.asarray(self.scale * self.scorer(asked) + self.shift)


def best_formula(dataset: Dataset, names: Iterable[str]) -> FittedFormula:
    """The one of `names` with the lowest loss of validation rows, the first of equals."""
    ground = Ground(dataset)
    asked, labels = ground.valid
    fitted = [FittedFormula.fit(name, ground) for name in names]
    return min(fitted, key=lambda one: logloss(one.logits(asked), labels))
