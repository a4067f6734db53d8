"""Batches of  prompt + history  as the tensors that the language model reads."""

from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from userip.models.prompt.soft_prompt import PADDING, Prompt, additive_mask, allowed, positions
from userip.training.crossfit.histories import Histories, Ints
from userip.training.language.item_texts import ItemTexts

# Sequences are padded to a multiple of so many tokens, so that batches have few shapes: the matrix library keeps
# kernels for every shape, and freed blocks of ever other sizes fit nobody.
GRAIN: Final = 16


class Batch(NamedTuple):
    """B sequences of at most L tokens, n of them supervised.

    tokens int64 [B, L]        ids; 0 at slots and padding
    allow  bool [B, L, L]      who sees whom            position int64 [B, L]
    source int64 [n]           flat index into B * L of the state that predicts the token
    target int64 [n], weight float32 [n], polar bool [n], row int64 [n] (0 .. B - 1), interaction int64 [n]
    comb int64 [n]             item row + place in the item's text: what `every` picks title tokens by
    """

    tokens: Tensor
    allow: Tensor
    position: Tensor
    source: Tensor
    target: Tensor
    weight: Tensor
    polar: Tensor
    row: Tensor
    interaction: Tensor
    comb: Tensor

    def every(self, stride: int, turn: int) -> "Batch":
        """Supervise every `stride`-th title token only, `stride` times as heavily, another one each turn.

        Polarity stays. Which tokens these are depends on the item alone: a user gets the same whoever is beside.
        """
        if stride == 1:
            return self
        keep = self.polar | ((self.comb + turn) % stride == 0)
        weight = torch.where(self.polar, self.weight, self.weight * stride)
        return self._replace(
            source=self.source[keep],
            target=self.target[keep],
            weight=weight[keep],
            polar=self.polar[keep],
            row=self.row[keep],
            interaction=self.interaction[keep],
            comb=self.comb[keep],
        )

    def mask(self, dtype: torch.dtype) -> Tensor:
        """The additive mask, [B, 1, L, L]."""
        return additive_mask(self.allow, dtype)


def token_lengths(histories: Histories, texts: ItemTexts) -> Ints:
    """Tokens of every user's history: int64 [U]."""
    per_interaction = texts.length[histories.liked.astype(np.int64), histories.items]
    return np.bincount(histories.owner, weights=per_interaction, minlength=len(histories)).astype(np.int64)


def build_batch(prompt: Prompt, texts: ItemTexts, histories: Histories, *, factorised: bool) -> Batch:
    """Lay the histories of B users behind the prompt, without a loop over tokens."""
    side = histories.liked.astype(np.int64)
    length = texts.length[side, histories.items]
    row = histories.owner
    within = np.concatenate([[0], np.cumsum(length)])
    first = within[:-1] - within[histories.offsets[:-1]][row]  # tokens of the same user before the interaction
    total = token_lengths(histories, texts)
    P = len(prompt.tokens)
    L = _rounded(P + int(total.max(initial=0)))
    # One entry per history token: its interaction, and how far into the interaction it stands.
    interaction = np.repeat(np.arange(len(length)), length)
    inside = np.arange(within[-1]) - np.repeat(within[:-1], length)
    column = P + first[interaction] + inside
    flat = row[interaction] * L + column

    B = len(histories)
    tokens = np.zeros(B * L, dtype=np.int64)
    block = np.full(B * L, PADDING, dtype=np.int64)
    tokens.reshape(B, L)[:, :P] = prompt.tokens.numpy()
    block.reshape(B, L)[:, :P] = prompt.block.numpy()
    target = texts.tokens[side[interaction], histories.items[interaction], inside]
    tokens[flat] = target
    ordinal = np.arange(len(length)) - histories.offsets[:-1][row]
    block[flat] = prompt.history_block + (ordinal[interaction] if factorised else 0)

    # A token is predicted by the state before it; the first one of an item, when items do not see each other, by
    # the end of the prompt.
    before = np.where((inside == 0) & factorised, P - 1, column - 1)
    blocks = torch.from_numpy(block.reshape(B, L))
    return Batch(
        tokens=torch.from_numpy(tokens.reshape(B, L)),
        allow=allowed(blocks, prompt.facets),
        position=positions(blocks, P, prompt.history_block, factorised=factorised),
        source=torch.from_numpy(row[interaction] * L + before),
        target=torch.from_numpy(target),
        weight=torch.from_numpy(texts.weight[side[interaction], histories.items[interaction], inside]),
        polar=torch.from_numpy(texts.polar[side[interaction], histories.items[interaction], inside]),
        row=torch.from_numpy(row[interaction]),
        interaction=torch.from_numpy(interaction),
        comb=torch.from_numpy(histories.items[interaction] + inside),
    )


def put_in_slots(embeddings: Tensor, prompt: Prompt, z: Tensor) -> Tensor:
    """Put soft tokens z [B, J, m, d] into the slots of embeddings [B, L, d]; gradient flows into z."""
    B, _, d = embeddings.shape
    index = prompt.slots.reshape(1, -1, 1).expand(B, -1, d)
    return embeddings.scatter(1, index, z.to(embeddings.dtype).reshape(B, -1, d))


def batches(lengths: Ints, overhead: int, max_tokens: int) -> list[Ints]:
    """Group users of like length so that a padded batch holds at most `max_tokens`: index arrays, longest last.

    Batches whose longest users round to the same multiple of `GRAIN` are of one shape, but for the last of them.
    A user who alone is longer than `max_tokens` is a batch.
    """
    order = np.argsort(lengths, kind="stable")
    groups: list[Ints] = []
    start = 0
    for end in range(1, len(order) + 1):
        full = end == len(order) or (end + 1 - start) * _rounded(overhead + int(lengths[order[end]])) > max_tokens
        if full:
            groups.append(order[start:end])
            start = end
    return groups


def _rounded(tokens: int) -> int:
    return -(-tokens // GRAIN) * GRAIN
