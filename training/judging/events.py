"""What histories say, event by event, beside what others say of the same items."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from userip.training.crossfit.histories import Histories, Ints
from userip.training.judging.judgements import Judgements

Floats = NDArray[np.float64]
GROUPS = 5  # of train users: what is said of items comes from the other groups


@dataclass(frozen=True, eq=False)
class Events:
    """The events of U users, n in all, in the order of their histories.

    owner, items  int64 [n]: user, and row of the catalogue
    liked         float64 [n]: 0 or 1
    ease, stars   float64 [n]: what others say of the item: log-odds of a like, and the mean rating (0: no ratings)
    surprise      float64 [n]: liked less sigma(ease)
    above         float64 [n]: rating less stars, 0 where there is no rating;   rated float64 [n]: 0 or 1
    """

    users: int
    owner: Ints
    items: Ints
    liked: Floats
    ease: Floats
    stars: Floats
    surprise: Floats
    above: Floats
    rated: Floats

    @classmethod
    def of(cls, histories: Histories, said: Judgements) -> "Events":
        """Events against what `said` of items."""
        items, liked = histories.items, histories.liked.astype(np.float64)
        ease = said.ease[items]
        stars, above, rated = np.zeros(len(items)), np.zeros(len(items)), np.zeros(len(items))
        if said.stars is not None:
            stars = said.stars[items]
            if histories.rating is not None:
                rated = np.isfinite(histories.rating).astype(np.float64)
                above = np.where(rated > 0, histories.rating - stars, 0.0)
        return cls(len(histories), histories.owner, items, liked, ease, stars, liked - chance(ease), above, rated)

    @classmethod
    def across_users(cls, train: Histories, items: int) -> "Events":
        """Events of train users, each against what users of the other groups say: no one's label tells of itself."""
        group = group_of(len(train))[train.owner]
        parts = {one: cls.of(train, Judgements.fit(train.keep(group != one), items)) for one in range(GROUPS)}

        def chosen(name: str) -> Floats:
            return np.asarray(np.choose(group, [getattr(parts[one], name) for one in range(GROUPS)]))

        whole = parts[0]
        ease, stars, surprise, above = (chosen(name) for name in ("ease", "stars", "surprise", "above"))
        return cls(len(train), whole.owner, whole.items, whole.liked, ease, stars, surprise, above, whole.rated)

    def only(self, users: NDArray[np.bool_]) -> "Events":
        """The events of the users whose mark [U] is set; users keep their places."""
        keep = users[self.owner]
        floats = (self.liked, self.ease, self.stars, self.surprise, self.above, self.rated)
        return Events(self.users, self.owner[keep], self.items[keep], *(column[keep] for column in floats))


def group_of(users: int) -> Ints:
    """The group of every user: int64 [U]."""
    return np.arange(users) % GROUPS


def chance(logit: Floats) -> Floats:
    """sigma(logit)."""
    return np.asarray(1 / (1 + np.exp(-logit)))
