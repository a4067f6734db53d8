"""M steps with all z fixed, before there are codebooks and after (docs/method.md#em)."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from userip.models.quantizers.codebook import Codebook
from userip.training.methods.em_state import EMState
from userip.training.methods.table import ProfileTable
from userip.training.quantize.clicks import Clicks, fit_surrogate, new_surrogate
from userip.training.quantize.config import QuantizeConfig


def dense_m_step(
    z: Tensor, table: ProfileTable, clicks: Clicks, items: int, config: QuantizeConfig, seed: int
) -> EMState:
    """A surrogate on dense z, for an E step on clicks: there are no codebooks yet."""
    surrogate = new_surrogate(z, items, seed)
    losses = fit_surrogate(surrogate, [], table, clicks, config, seed)
    return EMState([], surrogate, figures=figures_of([], z, losses, []))


def next_m_step(
    before: EMState,
    z: Tensor,
    table: ProfileTable,
    clicks: Clicks,
    config: QuantizeConfig,
    seed: int,
    *,
    last: bool,
) -> EMState:
    """S4: phi (and codes) by L_rec, then codes by the codebook term. Nothing is revived in the last round.

    `before` stays as it is: fold-in walks through the state of every round.
    """
    losses: list[float] = []
    codebooks = [copy.deepcopy(book).requires_grad_(True) for book in before.codebooks]
    surrogate = copy.deepcopy(before.surrogate)
    if surrogate is not None:
        losses = fit_surrogate(surrogate.requires_grad_(True), codebooks, table, clicks, config, seed)
    for j, book in enumerate(codebooks):
        move_codes(book, z[:, j], config)
    revived = [] if last else [revived_codes(book, z[:, j], config) for j, book in enumerate(codebooks)]
    return EMState(codebooks, surrogate, figures=figures_of(codebooks, z, losses, revived))


def move_codes(book: Codebook, z: Tensor, config: QuantizeConfig) -> None:
    """The codebook term of Eq. 5 on profiles z [n, D]: exact means, or the paper's gradient steps."""
    if config.update == "mean":
        book.move_to_means(z, decay=config.decay)
        return
    optimiser = torch.optim.AdamW([book.codes], lr=config.codes_lr, weight_decay=0.0)
    for _ in range(config.steps):
        optimiser.zero_grad(set_to_none=True)
        loss = book.codebook_loss(z, reduction=config.reduction).mean()
        (config.gamma * config.alpha * loss).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def revived_codes(book: Codebook, z: Tensor, config: QuantizeConfig) -> int:
    """Move codes that hardly anybody has, then all to their means; how many were moved."""
    moved = book.revive(z, min_share=config.revive_share / book.size) if config.revive_share > 0 else 0
    if moved:
        book.move_to_means(z)
    return moved


def figures_of(codebooks: Sequence[Codebook], z: Tensor, losses: list[float], revived: list[int]) -> dict[str, Any]:
    """What an M step says of itself, for quantize.json."""
    books = []
    for j, book in enumerate(codebooks):
        usage = book.usage(book.assign(z[:, j]))
        distortion = float(book(z[:, j]).commit_loss.detach().mean())
        books.append({"perplexity": round(usage.perplexity, 4), "distortion": round(distortion, 6)})
    return {"codebooks": books, "surrogate_loss": [round(loss, 5) for loss in losses], "revived": revived}
