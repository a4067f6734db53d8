"""Which of a user's past items are most like the one at hand: ReLLa's retrieval (docs/method.md#other-baselines)."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from userip.evaluation.baselines.tuned_lm import TunedLM
from userip.training.crossfit.histories import Ints, catalogue_rows
from userip.training.recommender.encoder import rows_of_values

Floats = NDArray[np.float64]
CHUNK = 256  # items that the language model reads at once


@torch.no_grad()
def item_vectors(model: TunedLM, item_tokens: int, components: int) -> Floats:
    """A unit vector per item, and a zero one for items that the catalogue does not know: float64 [I + 1, C].

    Mean of the untuned model's last states over the item's text, centred, reduced to the first `components`
    principal components.
    """
    texts = model.item_texts(item_tokens)
    tokens, length = torch.from_numpy(texts.tokens[0]), texts.length[0]
    L = tokens.shape[1] + 1
    ids = torch.cat([torch.full((len(tokens), 1), model.lm.bos), tokens], dim=1)
    pooled = []
    for piece, taken in zip(torch.split(ids, CHUNK), np.split(length, range(CHUNK, len(length), CHUNK)), strict=True):
        words = model.lm.embed(piece)
        states = model.lm.hidden(words, causal_mask(L, words.dtype), torch.arange(L)[None]).double().numpy()
        place = np.arange(L)[None]  # 0 is BOS
        inside = (place >= 1) & (place <= taken[:, None])
        pooled.append((states * inside[:, :, None]).sum(axis=1) / np.maximum(taken, 1)[:, None])
    known = np.concatenate(pooled)[:-1]
    centred = known - known.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    reduced = centred @ axes[:components].T
    length_of = np.linalg.norm(reduced, axis=1, keepdims=True)
    unit = np.divide(reduced, length_of, out=np.zeros_like(reduced), where=length_of > 0)
    return np.concatenate([unit, np.zeros((1, unit.shape[1]))])


def causal_mask(length: int, dtype: torch.dtype) -> torch.Tensor:
    """Every token sees itself and those before it: additive, [1, 1, L, L]. Padding stands behind all it could harm."""
    return torch.full((length, length), torch.finfo(dtype).min, dtype=dtype).triu(1)[None, None]


@dataclass(frozen=True, eq=False)
class Interactions:
    """Rows as arrays, in their order.

    user   int64 [n], place among the known users, -1: not known     liked  bool [n], all False where none is read
    item   int64 [n], row of the catalogue, I: not in it             fold   int64 [n], -1: of none
    """

    user: Ints
    item: Ints
    liked: NDArray[np.bool_]
    fold: Ints

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def of(cls, rows: pl.DataFrame, users: pl.Series, items: pl.DataFrame, *, labelled: bool) -> "Interactions":
        """Read a frame. `users`: the known ids, sorted; `items`: the catalogue. Without `labelled` no label is read."""
        return cls(
            rows_of_values(rows["user_id"], users.to_list()) - 1,
            catalogue_rows(items, rows["item_id"]).cast(pl.Int64).fill_null(len(items)).to_numpy(),
            rows["label"].to_numpy().astype(np.bool_) if labelled else np.zeros(rows.height, dtype=np.bool_),
            np.full(rows.height, -1, dtype=np.int64),
        )

    def take(self, rows: Ints) -> "Interactions":
        """The named rows [m]."""
        return Interactions(self.user[rows], self.item[rows], self.liked[rows], self.fold[rows])


def most_similar(targets: Interactions, past: Interactions, vectors: Floats, count: int) -> Ints:
    """Rows of `past` for every target, int64 [n, count], the most similar last; -1 in front where there are fewer.

    Only rows of the target's own user count, of another item, and, where the target has a fold, of another fold:
    a train row can find neither itself nor what stands or falls with it.
    """
    found = np.full((len(targets), count), -1, dtype=np.int64)
    by_user = np.argsort(past.user, kind="stable")
    order = np.argsort(targets.user, kind="stable")
    users, begin = np.unique(targets.user[order], return_index=True)
    for user, members in zip(users, np.split(order, begin[1:]), strict=True):
        first, last = np.searchsorted(past.user, [user, user + 1], sorter=by_user)
        own = by_user[first:last]
        if user < 0 or not len(own):
            continue
        likeness = vectors[targets.item[members]] @ vectors[past.item[own]].T  # [targets, past]
        fold = targets.fold[members, None]
        barred = (targets.item[members, None] == past.item[own]) | ((fold >= 0) & (fold == past.fold[own]))
        likeness[barred] = -np.inf
        # Ascending, ties in the order of time: the last `count` are the most similar, the latest of equals first.
        best = np.argsort(likeness, axis=1, kind="stable")[:, -count:]
        rows = np.where(np.take_along_axis(barred, best, axis=1), -1, own[best])
        found[members[:, None], np.arange(count - best.shape[1], count)] = rows
    return found
