"""How far an AUC may lie from what it stands for, so that tests judge by standard errors and not by one processor."""

from math import hypot
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Auc(NamedTuple):
    """An AUC and its standard error (Hanley and McNeil, Radiology 143, 1982)."""

    value: float
    error: float = 0.0

    @classmethod
    def of(cls, labels: ArrayLike, value: float) -> "Auc":
        """`value` as it was found on these labels."""
        positive = int(np.count_nonzero(labels))
        negative = len(np.asarray(labels)) - positive
        twice, square = value / (2 - value), 2 * value**2 / (1 + value)
        spread = (positive - 1) * (twice - value**2) + (negative - 1) * (square - value**2)
        return cls(value, float(np.sqrt((value * (1 - value) + spread) / (positive * negative))))

    def beats(self, other: "Auc", errors: float = 3.0) -> bool:
        """Whether it is the higher one by so many standard errors of the difference."""
        return self.value - other.value > errors * hypot(self.error, other.error)


CHANCE = Auc(0.5)
