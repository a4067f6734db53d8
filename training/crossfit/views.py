"""CrossFitViews: a user's whole history, and the same without each fold. Each view gets a z of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from userip.training.crossfit.folds import fold_of_rows
from userip.training.crossfit.histories import Histories, Ints, histories_of
from userip.training.data.dataset import Dataset

FULL: Final = -1  # the fold of a view of the whole history
SHARD = 1 << 19  # rows that are read at a time: their joins, not those of all rows, are in memory


class ViewKeys(NamedTuple):
    """Which views B histories are. row int64 [B]: their places among all views; without int8 [B]: the fold left out."""

    row: Ints
    without: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class CrossFitViews:
    """V views over the histories of U users.

    users    list of U user ids, train users first (sorted), then held-out users (sorted)
    trained  how many of them are train users
    fold     int8 [n], the fold of every interaction of `histories`
    user     int64 [V], of[v] the user of view v;   without int8 [V], the fold left out, -1: none
    """

    users: list[str]
    trained: int
    histories: Histories
    fold: NDArray[np.int8]
    user: Ints
    without: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def of(cls, dataset: Dataset, folds: int, seed: int, longest: int) -> "CrossFitViews":
        """CrossFitViews of everybody with train or history rows. Valid and test rows are not looked at."""
        rows = dataset.rows("train", "history")
        rows = rows.select("user_id", "item_id", "label", cs.by_name("rating", require_all=False), "timestamp", "split")
        known = (
            rows.lazy().group_by("user_id").agg(trained=(pl.col("split") == "train").any()).sort("user_id").collect()
        )
        first = np.argsort(~known["trained"].to_numpy(), kind="stable")  # train users, then the others
        trained = known["user_id"].filter(known["trained"])
        users = known["user_id"].gather(first).to_list()
        shards = [_shard(piece, dataset.items, folds, seed) for piece in by_users(rows)]
        del rows
        whole = Histories.joined([part for part, _ in shards])
        fold = np.concatenate([np.empty(0, np.int8), *(fold for _, fold in shards)])
        fold, whole = fold[whole.places(first)], whole.of(first)
        recent = np.repeat(whole.offsets[1:], whole.lengths) - np.arange(len(whole.items)) <= longest
        views_user = [np.arange(len(users))] + [np.arange(len(trained))] * folds
        views_fold = [np.full(len(users), FULL)] + [np.full(len(trained), f) for f in range(folds)]
        return cls(
            users,
            len(trained),
            whole.keep(recent),
            fold[recent],
            np.concatenate(views_user).astype(np.int64),
            np.concatenate(views_fold).astype(np.int8),
        )

    @classmethod
    def whole(cls, histories: Histories) -> "CrossFitViews":
        """One view per user, of the whole history: users who come after training."""
        users = len(histories)
        nowhere = np.zeros(len(histories.items), dtype=np.int8)
        return cls([""] * users, 0, histories, nowhere, np.arange(users), np.full(users, FULL, dtype=np.int8))

    @property
    def full(self) -> Ints:
        """CrossFitViews of the whole histories of train users: what codebooks are fitted to."""
        return np.arange(self.trained)

    def view_of(self, user: Ints, fold: Ints) -> Ints:
        """The view of train users without the given folds; fold -1: the whole history."""
        return np.where(fold < 0, user, len(self.users) + fold * self.trained + user)

    def of_views(self, views: Ints) -> Histories:
        """The histories that the given views [B] see."""
        users = self.user[views]
        index = self.histories.places(users)
        part = self.histories.of(users)
        left_out = np.repeat(self.without[views], part.lengths)
        return part.keep((left_out == FULL) | (self.fold[index] != left_out))

    def in_turn(self, most: int) -> list[Ints]:
        """All views in their order, in groups of about `most`."""
        return np.array_split(np.arange(len(self)), max(-(-len(self) // most), 1))

    def keys(self, views: Ints) -> ViewKeys:
        """What tells the given views [B] apart."""
        return ViewKeys(views, self.without[views])

    def sums(self, values: Ints) -> Ints:
        """The sum of `values` [n], one per interaction of `histories`, over what every view sees: int64 [V]."""
        owner = self.histories.owner
        found = np.bincount(owner, weights=values, minlength=len(self.users))[self.user]
        for fold in np.unique(self.without[self.without >= 0]):
            inside = self.fold == fold
            part = np.bincount(owner[inside], weights=values[inside], minlength=len(self.users))
            at = self.without == fold
            found[at] -= part[self.user[at]]
        return found.astype(np.int64)

    def interactions(self) -> Ints:
        """How many interactions every view sees: int64 [V]."""
        return self.sums(np.ones(len(self.histories.items), dtype=np.int64))


def by_users(rows: pl.DataFrame, most: int = SHARD) -> Iterator[pl.DataFrame]:
    """Pieces of rows that are sorted by user, of about `most` rows each; no user stands in two of them."""
    ends = np.cumsum(rows["user_id"].rle().struct.field("len").to_numpy(), dtype=np.int64)
    cuts = ends[np.append(np.flatnonzero(np.diff(ends // most)), len(ends) - 1)] if len(ends) else ends
    for begin, end in zip([0, *cuts[:-1].tolist()], cuts.tolist(), strict=False):
        yield rows.slice(begin, end - begin)


def _shard(rows: pl.DataFrame, items: pl.DataFrame, folds: int, seed: int) -> tuple[Histories, NDArray[np.int8]]:
    """Histories of the users of `rows`, in their order, and the fold of every interaction of a known item."""
    users = rows["user_id"].unique(maintain_order=True).to_list()
    known = rows.select(fold=fold_of_rows(rows, folds, seed), known=pl.col("item_id").is_in(items["item_id"].implode()))
    return histories_of(rows, items, users), known.filter("known")["fold"].to_numpy()
