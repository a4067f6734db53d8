"""Where the frozen model looks: template words, soft tokens or the item's own words (Figure 7).

The paper's claim is that tuned soft tokens draw attention away from template words. So the same histories are read with
the slots filled in several ways, and the share of attention is compared user by user, over all layers and heads.

What looks (query)                                        What is looked at (part)
history  every token of the history                       begin     the first position, where idle heads rest
item     the position that predicts an item's first word  template  facet names and task
verdict  the position that predicts liked or disliked     slots     the soft tokens
                                                          content   title and attributes of items
                                                          verdict   ":" and liked or disliked

There are many more words than slots; `EVEN`, attention spread evenly over all that is visible, is the scale to read by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from userip.models.prompt.soft_prompt import BOS_BLOCK
from userip.reporting.blocks import Estimate
from userip.training.crossfit.histories import Histories, Ints
from userip.training.errors import ConfigError
from userip.training.language.frozen import FrozenLM
from userip.training.language.item_texts import DISLIKED, LIKED
from userip.training.language.prompt_builder import PromptBuilder
from userip.training.language.sequences import Batch, batches, put_in_slots, token_lengths

PARTS: Final = ("begin", "template", "slots", "content", "verdict")
QUERIES: Final = ("history", "item", "verdict")
EVEN: Final = "even"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AttentionShare:
    """Share of attention that `query` gives to `part` under `fill`, or the change from it: mean over users, 95 %."""

    fill: str
    query: str
    part: str
    share: Estimate


@dataclass(frozen=True)
class Attention:
    """Shares under every fill and under `EVEN`, and from each fill to the last one the changes, user by user."""

    users: int
    layers: int
    heads: int
    shares: tuple[AttentionShare, ...]
    changes: tuple[AttentionShare, ...]


def attention_to_content(
    lm: FrozenLM,
    reader: PromptBuilder,
    histories: Histories,
    fills: Mapping[str, Tensor],
    *,
    resamples: int = 1000,
    seed: int = 0,
    batch_tokens: int = 6_000,
) -> Attention:
    """Attention of U users' histories under fills: name -> z float32 [U, J, m, d], the last one being "after".

    The interval redraws users, the same draws for every figure. Raises ConfigError for a model that does not show its
    attention, and ValueError for a user without history or a fill of another shape.
    """
    if not len(histories) or histories.lengths.min() == 0:
        raise ValueError("attention is measured on users who have a history")
    shape = (len(histories), *reader.prompt.slots.shape, lm.width)
    for name, z in fills.items():
        if tuple(z.shape) != shape:
            raise ValueError(f"fill {name!r} is {list(z.shape)}, not [users, facets, soft tokens, width] {list(shape)}")
    queries = QUERIES if reader.history.polarity else QUERIES[:2]  # without polarity nothing predicts a verdict
    names = [*fills, EVEN]
    shares = np.empty((len(names), len(histories), len(queries), len(PARTS)))
    layers = heads = 0
    for users in batches(token_lengths(histories, reader.texts), len(reader.prompt.tokens), batch_tokens):
        part = histories.of(users)
        batch = reader.batch(part)
        keys = _parts(reader, part, batch)
        looking = _queries(reader, batch)
        for number, name in enumerate(names):
            if name == EVEN:
                weights = batch.allow.float()
            else:
                weights, layers, heads = _weights(lm, reader, batch, fills[name][torch.from_numpy(users)])
            shares[number, users] = _shares(weights, keys, [looking[query] for query in queries])
    return _summary(names, queries, shares, layers, heads, resamples, seed)


@torch.no_grad()
def _weights(lm: FrozenLM, reader: PromptBuilder, batch: Batch, z: Tensor) -> tuple[Tensor, int, int]:
    """Attention [B, L, L], mean over layers and heads; how many there are of each."""
    words = lm.embed(batch.tokens)
    layers: Any = None
    if getattr(lm.model.config, "_attn_implementation", None) == "eager":  # no other computes the weights
        layers = lm.model.base_model(
            inputs_embeds=put_in_slots(words, reader.prompt, z), attention_mask=batch.mask(words.dtype),
            position_ids=batch.position, use_cache=False, output_attentions=True,
        ).attentions  # fmt: skip
    if not layers or any(one is None for one in layers):
        raise ConfigError(f"language.path: {type(lm.model).__name__} does not show its attention; Figure 7 needs it")
    return torch.stack([one.float().mean(dim=1) for one in layers]).mean(dim=0), len(layers), layers[0].shape[1]


def _parts(reader: PromptBuilder, histories: Histories, batch: Batch) -> Tensor:
    """What every position is: one-hot float32 [B, L, parts], zero at padding."""
    prompt = reader.prompt
    part = np.full(batch.tokens.shape, -1)
    part[:, : len(prompt.tokens)] = PARTS.index("template")
    part[:, (prompt.block == BOS_BLOCK).numpy().nonzero()[0]] = PARTS.index("begin")
    part[:, prompt.slots.flatten().numpy()] = PARTS.index("slots")
    interaction = batch.interaction.numpy()
    left = np.searchsorted(interaction, interaction, side="right") - np.arange(len(interaction))  # to the item's end
    endings = [len(reader.encode(":" + word)) if reader.history.polarity else 0 for word in (DISLIKED, LIKED)]
    ending = np.array(endings)[histories.liked.astype(np.int64)][interaction]
    kind = np.where(left > ending, PARTS.index("content"), PARTS.index("verdict"))
    part.reshape(-1)[_places(reader, batch)] = kind
    return (torch.from_numpy(part)[:, :, None] == torch.arange(len(PARTS))).float()


def _places(reader: PromptBuilder, batch: Batch) -> Ints:
    """Flat position in B * L of every history token, in the order of `batch.target`: users lie one behind the other."""
    row = batch.row.numpy()
    column = len(reader.prompt.tokens) + np.arange(len(row)) - np.searchsorted(row, row)
    return np.asarray(row * batch.tokens.shape[1] + column)


def _queries(reader: PromptBuilder, batch: Batch) -> dict[str, Tensor]:
    """Flat positions in B * L, int64, that look: of each kind in `QUERIES` that the histories have."""
    interaction = batch.interaction.numpy()
    first = np.arange(len(interaction)) == np.searchsorted(interaction, interaction)
    kinds = [torch.from_numpy(_places(reader, batch)), batch.source[torch.from_numpy(first)]]
    return dict(zip(QUERIES, [*kinds, batch.source[batch.polar]] if reader.history.polarity else kinds, strict=False))


def _shares(weights: Tensor, keys: Tensor, queries: Sequence[Tensor]) -> Floats:
    """weights [B, L, L] on parts [B, L, parts], as shares, mean over every user's queries: [B, queries, parts]."""
    B, L, _ = weights.shape
    mass = (weights @ keys).flatten(0, 1).double()
    mass = mass / mass.sum(dim=1, keepdim=True)  # bfloat16 weights sum to 1 within half a percent only
    found = []
    for flat in queries:
        owner = flat // L
        total = torch.zeros(B, keys.shape[2], dtype=torch.float64).index_add_(0, owner, mass[flat])
        found.append(total / torch.bincount(owner, minlength=B)[:, None])
    return torch.stack(found, dim=1).numpy()


def _summary(
    names: Sequence[str],
    queries: Sequence[str],
    shares: Floats,
    layers: int,
    heads: int,
    resamples: int,
    seed: int,
) -> Attention:
    users = shares.shape[1]
    draw = np.random.default_rng([seed, 12])
    weights = draw.multinomial(users, np.full(users, 1 / users), size=resamples) / users  # [R, U]
    drawn = np.einsum("ru,fuqp->fqpr", weights, shares, optimize=True)
    means = shares.mean(axis=1)

    def under(fill: str, mean: Floats, drawn: Floats) -> list[AttentionShare]:
        """mean [queries, parts], drawn [queries, parts, R]."""
        low, high = np.quantile(drawn, [0.025, 0.975], axis=2)
        return [
            AttentionShare(fill, query, part, Estimate(*(float(grid[q, p]) for grid in (mean, low, high))))
            for q, query in enumerate(queries)
            for p, part in enumerate(PARTS)
        ]

    last = len(names) - 2  # the last fill; EVEN stands behind it
    found = [under(name, means[f], drawn[f]) for f, name in enumerate(names)]
    changes = [under(names[f], means[last] - means[f], drawn[last] - drawn[f]) for f in range(last)]
    return Attention(users, layers, heads, tuple(chain(*found)), tuple(chain(*changes)))
