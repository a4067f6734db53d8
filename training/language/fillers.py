"""Words for the slots: what a person would write there, read off a history by counting.

The small language model is trained with the words of one half of a history in the slots and the other half as
text, so that it learns what the slots are for; inference starts from the words of the history at hand.
A slot holds the weighted mean of its words' embeddings, so words, and the steps between them, are points of one
continuous space in which the E step then moves.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from training.language.config import FacetConfig
from training.language.histories import Bools, Histories

Encode = Callable[[str], list[int]]
Floats = NDArray[np.float64]

UNKNOWN: Final = " unknown"
# Two scales of eight words each: how much a user likes, and how warmly he rates, against what others say of the items
GENEROSITY: Final = (
    " harsh", " severe", " strict", " critical", " fair", " mild", " kind", " generous",
)  # fmt: skip
WARMTH: Final = (
    " icy", " cold", " cool", " reserved", " warm", " hearty", " eager", " ardent",
)  # fmt: skip
SCALES: Final = (GENEROSITY, WARMTH)
TOP_WORDS: Final = 5
MOST_WORDS: Final = 512
SHRINKAGE: Final = 3.0  # interactions that the prior "like everybody" is worth


@dataclass(frozen=True, eq=False)
class Bag:
    """Weighted words for R slots: embedding r is the sum of weight * table[token] over its entries.

    tokens int64 [R, W], weight float32 [R, W] (0 pads)
    """

    tokens: NDArray[np.int64]
    weight: NDArray[np.float32]

    def embed(self, table: Tensor) -> Tensor:
        """Slot embeddings float [R, d]; gradient flows into `table` [V, d]."""
        return torch.nn.functional.embedding_bag(
            torch.from_numpy(self.tokens),
            table,
            mode="sum",
            per_sample_weights=torch.from_numpy(self.weight).to(table.dtype),
        )


@dataclass(frozen=True, eq=False)
class ItemCounts:
    """What train rows say of items: how often each was seen and liked, how often rated, and the sum of its ratings.

    float64 [I] all.
    """

    seen: Floats
    liked: Floats
    rated: Floats
    stars: Floats

    @classmethod
    def of(cls, histories: Histories, items: int) -> "ItemCounts":
        """Count the train histories."""
        seen = np.bincount(histories.items, minlength=items).astype(np.float64)
        liked = np.bincount(histories.items[histories.liked], minlength=items).astype(np.float64)
        rating = _ratings(histories)
        known = np.isfinite(rating)
        rated = np.bincount(histories.items[known], minlength=items).astype(np.float64)
        stars = np.bincount(histories.items[known], weights=rating[known], minlength=items).astype(np.float64)
        return cls(seen, liked, rated, stars)

    @property
    def rate(self) -> Floats:
        """Share liked per item, shrunk to the mean of all."""
        return _shrunk(self.liked, self.seen, 0.5)

    @property
    def mean_rating(self) -> Floats:
        """Mean rating per item, shrunk to the mean of all."""
        return _shrunk(self.stars, self.rated, 0.0)


class AttributeWords:
    """Slot words of the kind `attributes`: what the user likes more than the base rate, at most five."""

    def __init__(self, items: pl.DataFrame, columns: Sequence[str], encode: Encode, counts: ItemCounts) -> None:
        values = [_values(items, columns, row) for row in range(len(items))]
        count = Counter(value for row in values for value in row)
        # A value of a single item says its title once more; one of nearly all items says nothing. Ties go by the
        # alphabet: the order of a set of strings differs from process to process.
        by_count = sorted(count.items(), key=lambda pair: (-pair[1], pair[0]))
        frequent = [v for v, n in by_count if 2 <= n <= 0.8 * len(items)][:MOST_WORDS]
        index = {value: k for k, value in enumerate(frequent)}
        self.words = frequent
        pairs = [(r, index[v]) for r, row in enumerate(values) for v in row if v in index]
        rows, cols = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        self.membership = csr_array((np.ones(len(rows)), (rows, cols)), shape=(len(items), len(frequent)))
        self.base = (counts.seen @ self.membership) / max(counts.seen.sum(), 1.0)
        self.tokens, self.weight = _pad([encode(" " + word) for word in frequent])
        self.unknown = encode(UNKNOWN)

    def bag(self, histories: Histories) -> Bag:
        """The words of U users. A user who likes nothing more than others do gets the word "unknown"."""
        users = len(histories)
        unknown_tokens, unknown_weight = _pad([self.unknown] * users)
        if not self.words:
            return Bag(unknown_tokens, unknown_weight)
        owner, liked = histories.owner, histories.liked
        taken = csr_array(
            (np.ones(int(liked.sum())), (owner[liked], histories.items[liked])),
            shape=(users, self.membership.shape[0]),
        )
        seen = (taken @ self.membership).toarray()  # [U, words]: liked items that carry the word
        expected = np.bincount(owner[liked], minlength=users)[:, None] * self.base
        score = np.maximum((seen - expected) / np.sqrt(expected + 1.0), 0.0)
        top = np.argsort(-score, axis=1, kind="stable")[:, :TOP_WORDS]
        value = np.take_along_axis(score, top, axis=1)
        total = value.sum(axis=1, keepdims=True)
        share = np.divide(value, total, out=np.zeros_like(value), where=total > 0)
        tokens = self.tokens[top].reshape(users, -1)
        weight = (share[:, :, None] * self.weight[top]).reshape(users, -1)
        nothing = (total[:, 0] <= 0)[:, None]
        width = max(tokens.shape[1], unknown_tokens.shape[1])
        return Bag(
            np.where(nothing, _widen(unknown_tokens, width), _widen(tokens, width)),
            np.where(nothing, _widen(unknown_weight, width), _widen(weight, width)).astype(np.float32),
        )


class GenerosityWords:
    """Slot words of the kind `generosity`: where the user's judgements stand against what others say of the items.

    One word of each scale: how much is liked, and, where the data has ratings, how warmly it is rated (a label knows
    only one side of one threshold). Between two of a scale's eight words the slot holds a mixture, so that nothing is
    lost to bins.
    """

    def __init__(self, counts: ItemCounts, encode: Encode, knots: Sequence[Floats]) -> None:
        self.counts = counts
        self.scales = [_pad([encode(word) for word in words]) for words, _ in zip(SCALES, knots, strict=False)]
        self.knots = knots

    @staticmethod
    def knots_of(counts: ItemCounts, histories: Histories) -> list[Floats]:
        """Where on its scale each word stands: quantiles over train users, float64 [8] per scale."""
        levels = np.linspace(0, 1, 2 * len(GENEROSITY) + 1)[1::2]
        knots = []
        for values in deviations(counts, histories):
            some = values[histories.lengths > 0]
            # np.interp needs rising places: ties, as among users with one history each, are spread by a hair.
            spread = np.quantile(some, levels) + 1e-9 * np.arange(len(levels)) if len(some) else None
            knots.append(np.linspace(-1, 1, len(levels)) if spread is None else spread)
        return knots

    def bag(self, histories: Histories) -> Bag:
        """The words of U users; an empty history stands in the middle."""
        tokens, weights = [], []
        for (words, weight), knots, values in zip(
            self.scales, self.knots, deviations(self.counts, histories), strict=True
        ):
            place = np.interp(values, knots, np.arange(len(knots)))
            below = np.minimum(np.floor(place).astype(np.int64), len(knots) - 2)
            part = (place - below)[:, None]
            tokens += [words[below], words[below + 1]]
            weights += [(1 - part) * weight[below], part * weight[below + 1]]
        share = 1.0 / len(self.scales)
        return Bag(np.concatenate(tokens, axis=1), share * np.concatenate(weights, axis=1, dtype=np.float32))


def deviations(counts: ItemCounts, histories: Histories) -> list[Floats]:
    """A user's mean of (liked - the item's rate), and of (rating - the item's mean) where the train data has ratings.

    Shrunk to 0 for short histories: float64 [U] each.
    """
    surprise = [histories.liked - counts.rate[histories.items]]
    if counts.rated.any():
        surprise.append(_ratings(histories) - counts.mean_rating[histories.items])
    owner, found = histories.owner, []
    for values in surprise:
        known = np.isfinite(values)
        total = np.bincount(owner[known], weights=values[known], minlength=len(histories))
        found.append(total / (np.bincount(owner[known], minlength=len(histories)) + SHRINKAGE))
    return found


class NoWords:
    """Slot words of the kind `none`: always "unknown"."""

    def __init__(self, encode: Encode) -> None:
        self.unknown = encode(UNKNOWN)

    def bag(self, histories: Histories) -> Bag:
        """The same word for U users."""
        return Bag(*_pad([self.unknown] * len(histories)))


@dataclass(frozen=True, eq=False)
class Fillers:
    """The slot words of all facets, fitted to train histories."""

    facets: tuple[AttributeWords | GenerosityWords | NoWords, ...]
    unknown: NoWords
    counts: ItemCounts
    knots: list[Floats]

    @classmethod
    def fit(
        cls,
        facets: Sequence[FacetConfig],
        items: pl.DataFrame,
        attributes: Sequence[str],
        encode: Encode,
        train: Histories,
    ) -> "Fillers":
        """Count what is needed of the catalogue and the train histories."""
        counts = ItemCounts.of(train, len(items))
        return cls._of(facets, items, attributes, encode, counts, GenerosityWords.knots_of(counts, train))

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON."""
        return {
            "seen": self.counts.seen.tolist(),
            "liked": self.counts.liked.tolist(),
            "rated": self.counts.rated.tolist(),
            "stars": self.counts.stars.tolist(),
            "knots": [knots.tolist() for knots in self.knots],
        }

    @classmethod
    def restore(
        cls,
        facets: Sequence[FacetConfig],
        items: pl.DataFrame,
        attributes: Sequence[str],
        encode: Encode,
        state: dict[str, Any],
    ) -> "Fillers":
        """The fillers that `state` was taken of."""
        counts = ItemCounts(*(np.array(state[name]) for name in ("seen", "liked", "rated", "stars")))
        return cls._of(facets, items, attributes, encode, counts, [np.array(knots) for knots in state["knots"]])

    @classmethod
    def _of(
        cls,
        facets: Sequence[FacetConfig],
        items: pl.DataFrame,
        attributes: Sequence[str],
        encode: Encode,
        counts: ItemCounts,
        knots: list[Floats],
    ) -> "Fillers":
        def words(facet: FacetConfig) -> AttributeWords | GenerosityWords | NoWords:
            if facet.filler == "attributes":
                return AttributeWords(items, facet.columns or attributes, encode, counts)
            return GenerosityWords(counts, encode, knots) if facet.filler == "generosity" else NoWords(encode)

        return cls(tuple(words(facet) for facet in facets), NoWords(encode), counts, knots)

    def slots(self, histories: Histories, table: Tensor, hidden: Bools | None = None) -> Tensor:
        """Embeddings for the slots of U users: float [U, J, d]. `hidden` [U, J] says "unknown" instead."""
        columns = [facet.bag(histories).embed(table) for facet in self.facets]
        slots = torch.stack(columns, dim=1)
        if hidden is None:
            return slots
        unknown = self.unknown.bag(histories).embed(table)[:, None]
        return torch.where(torch.from_numpy(hidden)[:, :, None], unknown, slots)


def filler_vocabulary() -> list[str]:
    """The fixed words that the tokenizer must know."""
    return [UNKNOWN, *GENEROSITY, *WARMTH]


def _ratings(histories: Histories) -> Floats:
    """Ratings float64 [n], NaN where there is none."""
    if histories.rating is None:
        return np.full(len(histories.items), np.nan)
    return histories.rating.astype(np.float64)


def _shrunk(total: Floats, count: Floats, otherwise: float) -> Floats:
    """Means, shrunk to the mean of all; `otherwise` where nothing was counted at all."""
    mean = total.sum() / count.sum() if count.sum() else otherwise
    return np.asarray((total + SHRINKAGE * mean) / (count + SHRINKAGE))


def _values(items: pl.DataFrame, columns: Sequence[str], row: int) -> set[str]:
    if columns:
        return {word for name in columns for word in (items[name][row] or "").split("|") if word}
    return {word for word in items["title"][row].lower().split() if len(word) > 3 and word.isalpha()}


def _pad(lists: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Token lists as a table and the weights of their mean, 0 where padded."""
    width = max((len(tokens) for tokens in lists), default=1)
    table = np.zeros((len(lists), width), dtype=np.int64)
    weight = np.zeros((len(lists), width), dtype=np.float32)
    for row, tokens in enumerate(lists):
        table[row, : len(tokens)] = tokens
        weight[row, : len(tokens)] = 1.0 / max(len(tokens), 1)
    return table, weight


def _widen(table: NDArray[np.generic], width: int) -> NDArray[np.generic]:
    return np.pad(table, ((0, 0), (0, width - table.shape[1])))
