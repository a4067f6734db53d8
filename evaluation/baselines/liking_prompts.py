"""Prompts that end where the model has to say " liked" or " disliked" (ReLLa-style; docs/method.md#other-baselines).

[BOS] task   past item: liked   past item: disliked   ..   the item at hand:
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from userip.evaluation.baselines.retrieval import Interactions
from userip.evaluation.baselines.tuned_lm import TunedLM
from userip.training.crossfit.histories import Ints
from userip.training.errors import ConfigError
from userip.training.language.item_texts import DISLIKED, LIKED

TARGET = 2  # beside 0 = disliked and 1 = liked: an item's text up to where the word would stand


class LikingBatch(NamedTuple):
    """B prompts, padded behind: tokens int64 [B, L]; last int64 [B], the place of the last token."""

    tokens: Tensor
    last: Tensor


@dataclass(frozen=True, eq=False)
class LikingPrompts:
    """Tokens of everything that a prompt is made of.

    head int64 [P]; pieces int64 [3, I + 1, W] and length int64 [3, I + 1]: of every item as disliked, as liked and as
    the one at hand; liked, disliked: the ids between which the model chooses
    """

    head: Ints
    pieces: Ints
    length: Ints
    liked: int
    disliked: int

    @classmethod
    def of(cls, model: TunedLM, past_tokens: int, target_tokens: int) -> "LikingPrompts":
        """Tokenize the catalogue. Raises ConfigError where the tokenizer writes both words alike."""
        no, yes = (model.lm.encode(":" + word) for word in (DISLIKED, LIKED))
        apart = [place for place, (a, b) in enumerate(zip(no, yes, strict=False)) if a != b]
        if not apart:
            raise ConfigError(
                f"language.path: the tokenizer writes {DISLIKED!r} and {LIKED!r} alike; take another model"
            )
        past, target = model.item_texts(past_tokens), model.item_texts(target_tokens)
        endings = (no, yes, yes[: apart[0]])
        sources = (past, past, target)
        width = max(texts.tokens.shape[2] + len(end) for texts, end in zip(sources, endings, strict=True))
        pieces = np.zeros((3, past.tokens.shape[1], width), dtype=np.int64)
        length = np.zeros(pieces.shape[:2], dtype=np.int64)
        for kind, (texts, end) in enumerate(zip(sources, endings, strict=True)):
            text, count = texts.tokens[0], texts.length[0]
            pieces[kind, :, : text.shape[1]] = text
            place = count[:, None] + np.arange(len(end))
            np.put_along_axis(pieces[kind], place, np.broadcast_to(end, place.shape), axis=1)
            length[kind] = count + len(end)
        head = [model.lm.bos, *model.lm.encode(model.reader.history.task)]
        return cls(np.array(head), pieces, length, yes[apart[0]], no[apart[0]])

    def longest(self, past_items: int) -> int:
        """Tokens of the longest prompt with so many past items."""
        return len(self.head) + past_items * int(self.length[:TARGET].max()) + int(self.length[TARGET].max())

    def lengths(self, target_items: Ints, past: Interactions, found: Ints) -> Ints:
        """Tokens of every prompt: int64 [n]."""
        kind, item = self._parts(target_items, past, found)
        total: Ints = len(self.head) + np.where(item >= 0, self.length[kind, item], 0).sum(axis=1)
        return total

    def batch(self, target_items: Ints, past: Interactions, found: Ints) -> LikingBatch:
        """Prompts of B target items, int64 [B], with the rows `found` [B, K] of `past` (-1: none)."""
        kind, item = self._parts(target_items, past, found)
        length = np.where(item >= 0, self.length[kind, item], 0)  # [B, K + 1]
        start = len(self.head) + np.cumsum(length, axis=1) - length
        total = start[:, -1] + length[:, -1]
        tokens = np.zeros((len(item), int(total.max(initial=1))), dtype=np.int64)
        tokens[:, : len(self.head)] = self.head
        row, piece, inside = np.nonzero(np.arange(self.pieces.shape[2]) < length[:, :, None])
        tokens[row, start[row, piece] + inside] = self.pieces[kind[row, piece], item[row, piece], inside]
        return LikingBatch(torch.from_numpy(tokens), torch.from_numpy(total - 1))

    def _parts(self, target_items: Ints, past: Interactions, found: Ints) -> tuple[Ints, Ints]:
        """Kind and item of every piece of a prompt, int64 [B, K + 1] both; item -1: no piece."""
        there = found >= 0
        item = np.where(there, past.item[found] if len(past) else -1, -1)
        kind = np.where(there, past.liked[found] if len(past) else 0, 0).astype(np.int64)
        return (
            np.concatenate([kind, np.full((len(kind), 1), TARGET)], axis=1),
            np.concatenate([item, target_items[:, None]], axis=1),
        )
