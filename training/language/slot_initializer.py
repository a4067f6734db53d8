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

from userip.training.crossfit.histories import Bools, Histories
from userip.training.judging.judgements import Judgements
from userip.training.language.config import FacetConfig

Encode = Callable[[str], list[int]]
Floats = NDArray[np.float64]

UNKNOWN: Final = " unknown"
# Two scales of eight words each: how much users like, and how warmly they rate, against what others say of the items
GENEROSITY: Final = (
    " harsh", " severe", " strict", " critical", " fair", " mild", " kind", " generous",
)  # fmt: skip
WARMTH: Final = (
    " icy", " cold", " cool", " reserved", " warm", " hearty", " eager", " ardent",
)  # fmt: skip
SCALES: Final = (GENEROSITY, WARMTH)
TOP_WORDS: Final = 5
MOST_WORDS: Final = 512


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


class AttributeWords:
    """Slot words of the kind `attributes`: what the user likes more than the base rate, at most five."""

    def __init__(self, items: pl.DataFrame, columns: Sequence[str], encode: Encode, seen: Floats) -> None:
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
        self.base = (seen @ self.membership) / max(seen.sum(), 1.0)
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

    def __init__(self, judgements: Judgements, encode: Encode, knots: Sequence[Floats]) -> None:
        self.judgements = judgements
        self.scales = [_pad([encode(word) for word in words]) for words, _ in zip(SCALES, knots, strict=False)]
        self.knots = knots

    @staticmethod
    def knots_of(judgements: Judgements, histories: Histories) -> list[Floats]:
        """Where on its scale each word stands: quantiles over train users, float64 [8] per scale."""
        levels = np.linspace(0, 1, 2 * len(GENEROSITY) + 1)[1::2]
        knots = []
        for values in judgements.scales(histories):
            some = values[histories.lengths > 0]
            # np.interp needs rising places: ties, as among users with one history each, are spread by a hair.
            spread = np.quantile(some, levels) + 1e-9 * np.arange(len(levels)) if len(some) else None
            knots.append(np.linspace(-1, 1, len(levels)) if spread is None else spread)
        return knots

    def bag(self, histories: Histories) -> Bag:
        """The words of U users; an empty history stands in the middle."""
        tokens, weights = [], []
        scales = zip(self.scales, self.knots, self.judgements.scales(histories), strict=True)
        for (words, weight), knots, values in scales:
            place = np.interp(values, knots, np.arange(len(knots)))
            below = np.minimum(np.floor(place).astype(np.int64), len(knots) - 2)
            part = (place - below)[:, None]
            tokens += [words[below], words[below + 1]]
            weights += [(1 - part) * weight[below], part * weight[below + 1]]
        share = 1.0 / len(self.scales)
        return Bag(np.concatenate(tokens, axis=1), share * np.concatenate(weights, axis=1, dtype=np.float32))


class NoWords:
    """Slot words of the kind `none`: always "unknown"."""

    def __init__(self, encode: Encode) -> None:
        self.unknown = encode(UNKNOWN)

    def bag(self, histories: Histories) -> Bag:
        """The same word for U users."""
        return Bag(*_pad([self.unknown] * len(histories)))


@dataclass(frozen=True, eq=False)
class SlotInitializer:
    """The slot words of all facets, fitted to train histories."""

    facets: tuple[AttributeWords | GenerosityWords | NoWords, ...]
    unknown: NoWords
    seen: Floats
    judgements: Judgements
    knots: list[Floats]

    @classmethod
    def fit(
        cls,
        facets: Sequence[FacetConfig],
        items: pl.DataFrame,
        attributes: Sequence[str],
        encode: Encode,
        train: Histories,
    ) -> "SlotInitializer":
        """Count what is needed of the catalogue and the train histories."""
        seen = np.bincount(train.items, minlength=len(items)).astype(np.float64)
        judgements = Judgements.fit(train, len(items))
        knots = GenerosityWords.knots_of(judgements, train)
        return cls._of(facets, items, attributes, encode, seen, judgements, knots)

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON."""
        return {
            "seen": self.seen.tolist(),
            "judgements": self.judgements.state(),
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
    ) -> "SlotInitializer":
        """The fillers that `state` was taken of."""
        knots = [np.array(places) for places in state["knots"]]
        judgements = Judgements.restore(state["judgements"])
        return cls._of(facets, items, attributes, encode, np.array(state["seen"]), judgements, knots)

    @classmethod
    def _of(
        cls,
        facets: Sequence[FacetConfig],
        items: pl.DataFrame,
        attributes: Sequence[str],
        encode: Encode,
        seen: Floats,
        judgements: Judgements,
        knots: list[Floats],
    ) -> "SlotInitializer":
        def words(facet: FacetConfig) -> AttributeWords | GenerosityWords | NoWords:
            if facet.filler == "attributes":
                return AttributeWords(items, facet.columns or attributes, encode, seen)
            return GenerosityWords(judgements, encode, knots) if facet.filler == "generosity" else NoWords(encode)

        return cls(tuple(words(facet) for facet in facets), NoWords(encode), seen, judgements, knots)

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
