"""What is counted of a history, fitted so that no row is told by its own label.

generosity   in ratings: mean of (rating - m - b_i), shrunk by a few ratings; without ratings: c_u of the Rasch model
             P(liked) = sigma(b_i + c_u). Both against what others say of the same items (`judging.judgements`).
warmth       (likes + a) / (interactions + a + b), with Beta(a, b) fitted to everybody's shares by moments
activity     log(1 + interactions), scaled to a whole history where a fold is left out
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from userip.training.crossfit.histories import Histories
from userip.training.judging.judgements import Judgements, beta_prior

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """What train histories say of items, and of everybody: the prior of the share of likes, Beta(a, b)."""

    judgements: Judgements
    a: float
    b: float

    @classmethod
    def fit(cls, train: Histories, items: int) -> "Statistics":
        """Fit to train histories of a catalogue of `items` items."""
        a, b = beta_prior(train)
        return cls(Judgements.fit(train, items), a, b)

    @property
    def rated(self) -> bool:
        """Whether generosity is in ratings: else it is in log-odds of a like."""
        return self.judgements.stars is not None

    def of(self, histories: Histories, scale: Floats) -> Floats:
        """Generosity, warmth and activity, float64 [B, 3]; `scale` [B]: what a history's length counts for."""
        lengths = histories.lengths
        likes = np.bincount(histories.owner[histories.liked], minlength=len(histories))
        warmth = (likes + self.a) / (lengths + self.a + self.b)
        generosity = self.judgements.scales(histories)[-1]
        return np.stack([generosity, warmth, np.log1p(lengths * scale)], axis=1)

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON."""
        return {"judgements": self.judgements.state(), "a": self.a, "b": self.b}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> "Statistics":
        """The statistics that `state` was taken of."""
        return cls(Judgements.restore(state["judgements"]), float(state["a"]), float(state["b"]))
