"""How much a user likes whatever it is: the part of the logit that is the same for all items, and that of items alone.

    logit = w_0 + w_ease ease_i + w_stars stars_i + w_known log n_i + generosity_u + w_warmth warmth_u

generosity   w_c c_u + w_sure c_u min(1, log(1 + n_u) / 4) + w_above a_u, in log-odds: c_u is one Newton step of the
             Rasch model from 0, a_u the mean of ratings above others', shrunk by 3 ratings
warmth       log-odds of the share of likes, (likes + a) / (n + a + b), less those of everybody

The weights are those of a logistic regression on train rows; the numbers of a row's user leave out that row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from userip.training.judging.events import Events, chance
from userip.training.judging.judgements import SHRINKAGE

Floats = NDArray[np.float64]
SURE: Final = 4.0  # log of the length from which generosity counts in full
GENEROSITY: Final = 3  # of the four numbers of a user; the last is warmth


@dataclass(frozen=True, eq=False)
class Level:
    """The fitted part. items float64 [3], user float64 [4], bias: weights; a, b: the prior of the share of likes."""

    bias: float
    items: Floats
    user: Floats
    a: float
    b: float

    @classmethod
    def fit(cls, events: Events, known: Floats, prior: tuple[float, float]) -> "Level":
        """Fit to events; known float64 [I]: log of how often an item was met; `prior` Beta(a, b) of shares of likes."""
        from sklearn.linear_model import LogisticRegression

        features = np.concatenate(
            [
                _item_numbers(events.ease, events.stars, known[events.items]),
                _user_numbers(events, prior, 1.0, own=False),
            ],
            1,
        )
        mean, spread = features.mean(axis=0), features.std(axis=0)
        spread[spread < 1e-9] = 1.0
        if len(np.unique(events.liked)) < 2:
            return cls(float(np.clip(events.ease.mean(), -5, 5)), np.zeros(3), np.zeros(4), *prior)
        found = LogisticRegression(max_iter=1000).fit((features - mean) / spread, events.liked)
        weights = found.coef_[0] / spread
        return cls(float(found.intercept_[0] - weights @ mean), weights[:3], weights[3:], *prior)

    def of_items(self, ease: Floats, stars: Floats, known: Floats) -> Floats:
        """What is said of items, for a stranger: logits float64 [n]."""
        return np.asarray(self.bias + _item_numbers(ease, stars, known) @ self.items)

    def of_users(self, events: Events, scale: float) -> Floats:
        """Generosity and warmth float64 [U, 2]; `scale`: what a history's length counts for."""
        numbers = _user_numbers(events, (self.a, self.b), scale, own=True)
        return np.stack([numbers[:, :GENEROSITY] @ self.user[:GENEROSITY], numbers[:, GENEROSITY]], axis=1)

    def of_rows(self, events: Events, known: Floats) -> Floats:
        """The logit of every event, by what its user did elsewhere: float64 [n]."""
        users = _user_numbers(events, (self.a, self.b), 1.0, own=False) @ self.user
        return self.of_items(events.ease, events.stars, known[events.items]) + users

    @property
    def warmth(self) -> float:
        """w_warmth."""
        return float(self.user[GENEROSITY])

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON."""
        return {"bias": self.bias, "items": list(self.items), "user": list(self.user), "a": self.a, "b": self.b}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> "Level":
        """The level that `state` was taken of."""
        return cls(state["bias"], np.array(state["items"]), np.array(state["user"]), state["a"], state["b"])


def _item_numbers(ease: Floats, stars: Floats, known: Floats) -> Floats:
    return np.stack([ease, stars, known], axis=1)


def _user_numbers(events: Events, prior: tuple[float, float], scale: float, *, own: bool) -> Floats:
    """Four numbers of every user [U, 4], or, unless `own`, of every event's user without the event [n, 4]."""
    chances = chance(events.ease)

    def total(weights: Floats) -> Floats:
        sums = np.bincount(events.owner, weights=weights, minlength=events.users)
        return np.asarray(sums if own else sums[events.owner] - weights)

    count, likes = total(np.ones(len(events.owner))), total(events.liked)
    c = total(events.surprise) / (total(chances * (1 - chances)) + 1.0)
    above = total(events.above) / (total(events.rated) + SHRINKAGE)
    a, b = prior
    warmth = np.log((likes + a) / (count - likes + b)) - np.log(a / b)
    return np.stack([c, c * np.minimum(1.0, np.log1p(count * scale) / SURE), above, warmth], axis=1)
