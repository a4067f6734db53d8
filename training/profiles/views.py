"""Views: a user's whole history, and the same without each fold. Each view gets a z of its own."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data.dataset import Dataset
from training.language.histories import Histories, Ints, histories_of
from training.language.item_texts import ItemTexts
from training.profiles.folds import fold_of_rows

FULL = -1


@dataclass(frozen=True, eq=False)
class Views:
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
    def of(cls, dataset: Dataset, folds: int, seed: int, longest: int) -> "Views":
        """Views of everybody with train or history rows. Valid and test rows are not looked at."""
        train, history = dataset.rows("train"), dataset.rows("history")
        trained = train["user_id"].unique().sort().to_list()
        held_out = sorted(set(history["user_id"].unique()) - set(trained))
        users = trained + held_out
        rows = pl.concat([train, history]).sort("user_id", "timestamp", "item_id")
        whole = histories_of(rows, dataset.items, users)
        fold = _folds(rows, dataset.items, users, folds, seed)
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

    @property
    def full(self) -> Ints:
        """Views of the whole histories of train users: what codebooks are fitted to."""
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

    def token_lengths(self, texts: ItemTexts) -> Ints:
        """Tokens of the history of every view: int64 [V]."""
        side = self.histories.liked.astype(np.int64)
        tokens = texts.length[side, self.histories.items]
        owner = self.histories.owner
        whole = np.bincount(owner, weights=tokens, minlength=len(self.users))
        lengths = whole[self.user]
        for fold in np.unique(self.without[self.without >= 0]):
            inside = self.fold == fold
            part = np.bincount(owner[inside], weights=tokens[inside], minlength=len(self.users))
            at = self.without == fold
            lengths[at] -= part[self.user[at]]
        return lengths.astype(np.int64)

    def interactions(self) -> Ints:
        """How many interactions every view sees: int64 [V]."""
        whole = self.histories.lengths[self.user]
        for fold in np.unique(self.without[self.without >= 0]):
            part = np.bincount(self.histories.owner[self.fold == fold], minlength=len(self.users))
            at = self.without == fold
            whole[at] -= part[self.user[at]]
        return whole


def _folds(rows: pl.DataFrame, items: pl.DataFrame, users: list[str], folds: int, seed: int) -> NDArray[np.int8]:
    """Folds in the order of `histories_of`: by user, then by time; rows of unknown items are dropped there."""
    order = pl.DataFrame({"user_id": users}, schema={"user_id": pl.String}).with_row_index("user")
    known = rows.with_columns(fold=fold_of_rows(rows, folds, seed)).join(
        items.select("item_id"), on="item_id", how="semi"
    )
    placed = known.join(order, on="user_id", how="inner").sort("user", "timestamp", "item_id")
    return placed["fold"].to_numpy()
