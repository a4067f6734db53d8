"""How users judge: against what others say of the same items, and so fairly to those who met poor ones.

generosity   c_u of the Rasch model  P(liked) = sigma(b_i + c_u),  c_u ~ N(0, 1),  b_i ~ N(b, 1)
warmth       c_u of  rating = m + b_i + c_u + noise,  means shrunk by `SHRINKAGE` ratings

Both are fitted to train histories by alternating over users and items; a user who comes later gets the posterior mode
given the items, in closed form or by Newton's method in one dimension. A user without history stands at 0.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from userip.training.crossfit.histories import Histories, Ints

Floats = NDArray[np.float64]

SHRINKAGE: Final = 3.0  # ratings that the prior "like everybody" is worth
ROUNDS: Final = 8
NEWTON: Final = 12  # an item that a hundred thousand people like is far from where the search begins


@dataclass(frozen=True, eq=False)
class Judgements:
    """What train histories say of items. ease float64 [I]: b_i, log-odds; stars float64 [I] or None: m + b_i."""

    ease: Floats
    stars: Floats | None

    @classmethod
    def fit(cls, train: Histories, items: int) -> "Judgements":
        """Fit both models to train histories; `stars` is None where nothing is rated."""
        owner, users = train.owner, len(train)
        rate = np.clip(train.liked.mean() if len(train.items) else 0.5, 1e-3, 1 - 1e-3)
        centre = float(np.log(rate / (1 - rate)))
        ease, generosity = np.full(items, centre), np.zeros(users)
        for _ in range(ROUNDS):
            generosity = _mode(owner, ease[train.items], train.liked, users)
            ease = centre + _mode(train.items, generosity[owner] + centre, train.liked, items)
        return cls(ease, _two_way(train, items))

    def scales(self, histories: Histories) -> list[Floats]:
        """Generosity, and warmth where the train data has ratings: float64 [U] each."""
        found = [_mode(histories.owner, self.ease[histories.items], histories.liked, len(histories))]
        if self.stars is not None:
            rating = _ratings(histories)
            known = np.isfinite(rating)
            surprise = (rating - self.stars[histories.items])[known]
            found.append(shrunk(histories.owner[known], surprise, len(histories)))
        return found

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON."""
        return {"ease": self.ease.tolist(), "stars": None if self.stars is None else self.stars.tolist()}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> "Judgements":
        """The judgements that `state` was taken of."""
        return cls(np.array(state["ease"]), None if state["stars"] is None else np.array(state["stars"]))


def beta_prior(train: Histories) -> tuple[float, float]:
    """Beta(a, b) of users' shares of likes, by the moments of those with interactions; a + b within 1 and 100."""
    known = train.lengths > 0
    if not known.any():
        return 1.0, 1.0
    lengths = train.lengths[known]
    shares = np.bincount(train.owner[train.liked], minlength=len(train))[known] / lengths
    mean = float(np.clip(train.liked.mean(), 0.01, 0.99))
    # Of the spread of shares, what n draws with one chance for all would make is not users' own.
    own = float(((shares - mean) ** 2).mean() - (mean * (1 - mean) / lengths).mean())
    strength = float(np.clip(mean * (1 - mean) / max(own, 1e-9) - 1, 1.0, 100.0))
    return mean * strength, (1 - mean) * strength


def _mode(group: Ints, offset: Floats, liked: NDArray[np.bool_], groups: int) -> Floats:
    """Posterior mode of c_g in P(liked) = sigma(offset + c_g), c_g ~ N(0, 1): float64 [groups], by Newton's method."""
    mode = np.zeros(groups)
    for _ in range(NEWTON):
        chance = 1 / (1 + np.exp(-(offset + mode[group])))
        slope = np.bincount(group, weights=liked - chance, minlength=groups) - mode
        bend = np.bincount(group, weights=chance * (1 - chance), minlength=groups) + 1.0
        # The log-posterior is concave, but a full step from far off can overshoot.
        mode = mode + np.clip(slope / bend, -2.0, 2.0)
    return mode


def _two_way(train: Histories, items: int) -> Floats | None:
    rating = _ratings(train)
    known = np.isfinite(rating)
    if not known.any():
        return None
    owner, item, rating = train.owner[known], train.items[known], rating[known]
    mean = float(rating.mean())
    user, stars = np.zeros(len(train)), np.zeros(items)
    for _ in range(ROUNDS):
        stars = shrunk(item, rating - mean - user[owner], items)
        user = shrunk(owner, rating - mean - stars[item], len(train))
    return mean + stars


def shrunk(group: Ints, values: Floats, groups: int) -> Floats:
    """Means per group, shrunk to 0."""
    total = np.bincount(group, weights=values, minlength=groups)
    return np.asarray(total / (np.bincount(group, minlength=groups) + SHRINKAGE))


def _ratings(histories: Histories) -> Floats:
    """Ratings float64 [n], NaN where there is none."""
    if histories.rating is None:
        return np.full(len(histories.items), np.nan)
    return histories.rating.astype(np.float64)
