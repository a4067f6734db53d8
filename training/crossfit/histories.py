"""Histories as flat arrays: who interacted with what, whether it was liked, and how it was rated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Histories:
    """Interactions of U users, oldest first, user u at [offsets[u], offsets[u + 1]).

    offsets int64 [U + 1]; items int64 [n], a row of the catalogue each; liked bool [n]
    rating float32 [n], NaN where there is none; None: no interaction has one
    """

    offsets: Ints
    items: Ints
    liked: Bools
    rating: Floats | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        """Interactions per user: int64 [U]."""
        return np.diff(self.offsets)

    @property
    def owner(self) -> Ints:
        """The user of every interaction: int64 [n]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def keep(self, mask: Bools) -> "Histories":
        """The same users with those interactions only where `mask` [n] is true."""
        counts = np.bincount(self.owner[mask], minlength=len(self))
        rating = None if self.rating is None else self.rating[mask]
        return Histories(np.concatenate([[0], np.cumsum(counts)]), self.items[mask], self.liked[mask], rating)

    def of(self, users: Ints) -> "Histories":
        """The histories of `users` [B], in that order; a user may stand there twice."""
        take = self.places(users)
        offsets = np.concatenate([[0], np.cumsum(self.offsets[users + 1] - self.offsets[users])])
        return Histories(
            offsets, self.items[take], self.liked[take], None if self.rating is None else self.rating[take]
        )

    def places(self, users: Ints) -> Ints:
        """Where the interactions of `users` [B] stand, one user after the other: int64, in work that B bounds."""
        lengths = self.offsets[users + 1] - self.offsets[users]
        before = np.cumsum(lengths) - lengths
        places: Ints = np.repeat(self.offsets[users] - before, lengths) + np.arange(lengths.sum())
        return places

    def then(self, other: "Histories") -> "Histories":
        """These users, then those of `other`."""
        return Histories.joined([self, other])

    @classmethod
    def joined(cls, parts: "Sequence[Histories]") -> "Histories":
        """The users of all parts, one part after the other."""
        lengths = np.concatenate([np.empty(0, np.int64), *(part.lengths for part in parts)])
        return cls(
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.concatenate([np.empty(0, np.int64), *(part.items for part in parts)]),
            np.concatenate([np.empty(0, np.bool_), *(part.liked for part in parts)]),
            _joined(parts),
        )

    def last(self, count: int) -> "Histories":
        """The last `count` interactions of every user."""
        from_end = np.repeat(self.offsets[1:], self.lengths) - np.arange(len(self.items))
        return self.keep(from_end <= count)

    def sample(self, count: int, generator: np.random.Generator) -> "Histories":
        """At most `count` interactions of every user, drawn without replacement, in their order."""
        if not len(self.items) or self.lengths.max() <= count:
            return self
        return self.keep(self.ranks(generator) < count)

    def pick(self, count: int, seed: int) -> "Histories":
        """At most `count` interactions of every user, drawn by a hash of (item, seed).

        Unlike `sample`, whom a user stands beside makes no difference.
        """
        if not len(self.items) or self.lengths.max() <= count:
            return self
        with np.errstate(over="ignore"):  # splitmix64, on purpose modulo 2^64
            key = self.items.astype(np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
            key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return self.keep(self._ranks_by(key ^ (key >> np.uint64(31))) < count)

    def ranks(self, generator: np.random.Generator) -> Ints:
        """A random order of every user's own interactions: rank 0 .. length - 1, int64 [n]."""
        return self._ranks_by(generator.random(len(self.items)))

    def _ranks_by(self, key: NDArray[np.generic]) -> Ints:
        order = np.lexsort((key, self.owner))
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order)) - np.repeat(self.offsets[:-1], self.lengths)
        return ranks


def _joined(parts: Sequence[Histories]) -> Floats | None:
    """Ratings of all parts, NaN for a part without; None when none has any."""
    if all(part.rating is None for part in parts):
        return None
    return np.concatenate(
        [np.full(len(part.items), np.nan, np.float32) if part.rating is None else part.rating for part in parts]
    )


def catalogue_rows(items: pl.DataFrame, item_ids: pl.Series) -> pl.Series:
    """The row of every item id in `items`, null where it is not in the catalogue."""
    index = items.select("item_id").with_row_index("row")
    return item_ids.to_frame("item_id").join(index, on="item_id", how="left", maintain_order="left")["row"]


def histories_of(rows: pl.DataFrame, items: pl.DataFrame, users: Sequence[str]) -> Histories:
    """Histories of `users`, in that order, from rows (`user_id, item_id, label, rating?`) that are in time order.

    Items that the catalogue does not know are left out; a user without rows has an empty history.
    """
    order = pl.DataFrame({"user_id": users}, schema={"user_id": pl.String}).with_row_index("user")
    known = (
        rows.select("user_id", "item_id", "label", *(["rating"] if "rating" in rows.columns else []))
        .with_columns(row=catalogue_rows(items, rows["item_id"]))
        .drop_nulls("row")
        .join(order, on="user_id", how="inner", maintain_order="left")
        .sort("user", maintain_order=True)
    )
    counts = np.bincount(known["user"].to_numpy(), minlength=len(users))
    rated = "rating" in known.columns and known["rating"].count() > 0
    return Histories(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        known["row"].to_numpy().astype(np.int64),
        known["label"].to_numpy().astype(np.bool_),
        known["rating"].fill_null(float("nan")).to_numpy().astype(np.float32) if rated else None,
    )
