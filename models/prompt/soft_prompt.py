"""The prompt (Eq. 3) and its block-closed causal mask (Figure 4; docs/method.md#mask).

A sequence is  [BOS] n_1 z_1 ... n_J z_J T h  with facet names n_j, soft tokens z_j, task T and history h.
Every token carries a block number; who may look at whom follows from the numbers alone:

    0          BOS                      sees BOS
    1 .. J     facet j, name and slots  sees BOS and its own block
    J + 1      task                     sees the whole prompt
    J + 2 + i  history item i           sees the whole prompt and its own item
    -1         padding                  is seen by nobody

With `factorised=False` all history tokens share block J + 2, so each sees the items before it as well.
A facet's block is closed: neither its name nor its slots see another facet. Masking the slot rows alone would
leak facet 1 into facet 2 through the name tokens in the second layer.
"""

from typing import NamedTuple

import torch
from torch import Tensor

BOS_BLOCK = 0
PADDING = -1


class Prompt(NamedTuple):
    """The fixed part of every sequence, P tokens long.

    tokens    int64 [P]; 0 at the slots, where soft tokens are put in
    block     int64 [P]; block number of every token
    slots     int64 [J, m]; positions of the soft tokens of every facet
    """

    tokens: Tensor
    block: Tensor
    slots: Tensor

    @property
    def facets(self) -> int:
        """J."""
        return self.slots.shape[0]

    @property
    def history_block(self) -> int:
        """Block number of the first history item."""
        return self.facets + 2


def build_prompt(bos: int, names: list[list[int]], task: list[int], soft_tokens: int) -> Prompt:
    """Lay out  [bos] n_1 z_1 .. n_J z_J task  (Eq. 3) from token ids; every facet has `soft_tokens` slots."""
    tokens, block, slots = [bos], [BOS_BLOCK], []
    for j, name in enumerate(names, start=1):
        tokens += name
        slots.append([len(tokens) + k for k in range(soft_tokens)])
        tokens += [0] * soft_tokens
        block += [j] * (len(name) + soft_tokens)
    tokens += task
    block += [len(names) + 1] * len(task)
    return Prompt(torch.tensor(tokens), torch.tensor(block), torch.tensor(slots))


def allowed(block: Tensor, facets: int) -> Tensor:
    """Who may look at whom: bool [B, L, L], True where query q sees key k. `block` is int64 [B, L]."""
    q, k = block[:, :, None], block[:, None, :]
    length = block.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=block.device).tril()
    inside = (k == BOS_BLOCK) | (k == q) | ((q > facets) & (k <= facets + 1))
    return causal & (k != PADDING) & inside


def additive_mask(allow: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask that transformers adds to the scores: float [B, 1, L, L], 0 where allowed, else finfo.min.

    A boolean mask would be *added* by eager attention (True = +1) and mask nothing.
    """
    mask = torch.full(allow.shape, torch.finfo(dtype).min, dtype=dtype, device=allow.device)
    return mask.masked_fill_(allow, 0.0)[:, None]


def positions(block: Tensor, prompt_length: int, history_block: int, *, factorised: bool) -> Tensor:
    """Position ids, int64 [B, L]: running, but every history item starts anew behind the prompt if factorised."""
    running = torch.arange(block.shape[1], device=block.device).expand_as(block)
    running = torch.where(block == PADDING, 0, running)  # however long the batch, padding asks for no position
    if not factorised:
        return running
    starts = torch.ones_like(block, dtype=torch.bool)
    starts[:, 1:] = block[:, 1:] != block[:, :-1]
    start = torch.where(starts, running, 0).cummax(dim=1).values
    return torch.where(block >= history_block, prompt_length + running - start, running)
