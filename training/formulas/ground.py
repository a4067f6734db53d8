"""What all formulas stand on: histories, what is said of items, and the rows that are asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.training.crossfit.histories import Histories, Ints, catalogue_rows
from userip.training.crossfit.views import CrossFitViews
from userip.training.data.dataset import Dataset
from userip.training.judging.attributes import attributes_of
from userip.training.judging.events import GROUPS, group_of
from userip.training.judging.judgements import Judgements, beta_prior

Floats = NDArray[np.float64]
FOLDS: Final = 5  # of a train user's rows: what a row is told of its user lies in the others
LEAST_ITEMS: Final = 10  # that have an attribute
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
    """A data set as formulas see it. Labels of valid rows are in `valid` alone; test rows are not looked at."""

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
    def fold(self) -> NDArray[np.int8]:
        """The fold of every interaction of `train`."""
        return self.views.fold[self.views.histories.places(self.views.full)]

    @cached_property
    def everyone(self) -> Histories:
        """Histories of train users, of held-out users, and one that is empty: a stranger's."""
        empty = Histories(np.zeros(2, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
        return self.views.histories.then(empty)

    @cached_property
    def group(self) -> Ints:
        """Whose word on items each of `everyone` is told: 0 .. GROUPS - 1, all but that group; GROUPS: everybody's."""
        place = np.arange(len(self.everyone))
        return np.where(place < self.views.trained, group_of(len(place)), GROUPS)

    @cached_property
    def said(self) -> list[Judgements]:
        """What train users say of items: all but one group, group by group; then all."""
        of_rows = self.group[self.train.owner]
        return [Judgements.fit(self.train.keep(of_rows != one), self.items) for one in range(GROUPS + 1)]

    @cached_property
    def prior(self) -> list[tuple[float, float]]:
        """Beta(a, b) of the shares of likes of train users: all but one group, group by group; then all."""
        of_rows = self.group[self.train.owner]
        return [beta_prior(self.train.keep(of_rows != one)) for one in range(GROUPS + 1)]

    @cached_property
    def known(self) -> Floats:
        """Log of how often train users met an item: float64 [I]."""
        return np.asarray(np.log(np.maximum(np.bincount(self.train.items, minlength=self.items), 1.0)))

    @cached_property
    def attributes(self) -> NDArray[np.float32]:
        """1 where an item has an attribute: float32 [I, a]."""
        return attributes_of(self.dataset.items, self.dataset.info.attributes, LEAST_ITEMS)[0]

    @property
    def items(self) -> int:
        """How many items the catalogue has."""
        return self.dataset.items.height

    @cached_property
    def valid(self) -> tuple[Asked, NDArray[np.bool_]]:
        """Validation rows and their labels."""
        rows = self.dataset.rows("valid")
        return self.asked(rows), rows["label"].to_numpy()

    def asked(self, rows: pl.DataFrame) -> Asked:
        """Rows (user_id, item_id) by place."""
        users = pl.DataFrame({"user_id": self.views.users}, schema={"user_id": pl.String}).with_row_index("user")
        user = rows.select("user_id").join(users, on="user_id", how="left", maintain_order="left")["user"]
        item = catalogue_rows(self.dataset.items, rows["item_id"])
        return Asked(
            user.cast(pl.Int64).fill_null(len(self.views.users)).to_numpy(),
            item.cast(pl.Int64).fill_null(-1).to_numpy(),
        )
