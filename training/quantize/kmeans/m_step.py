"""M steps of `kmeans` with all z fixed, after there are codebooks (docs/method.md#em)."""

import copy

import torch
from torch import Tensor

from userip.models.quantizers.codebook import Codebook
from userip.training.methods.em_state import EMState
from userip.training.quantize.clicks import fit_surrogate
from userip.training.quantize.figures import figures_of
from userip.training.quantize.kmeans.config import KMeansConfig
from userip.training.quantize.protocol import Problem


def next_m_step(before: EMState, problem: Problem, config: KMeansConfig, *, last: bool) -> EMState:
    """S4: phi (and codes) by L_rec, then codes by the codebook term. Nothing is revived in the last round.

    `before` stays as it is: fold-in walks through the state of every round.
    """
    losses: list[float] = []
    z = problem.z
    codebooks = [copy.deepcopy(book).requires_grad_(True) for book in before.flat]
    surrogate = copy.deepcopy(before.surrogate)
    if surrogate is not None:
        phi = surrogate.requires_grad_(True)
        losses = fit_surrogate(phi, codebooks, problem, config, learn_codes=config.learns_codes)
    for j, book in enumerate(codebooks):
        move_codes(book, z[:, j], config)
    revived = [] if last else [revived_codes(book, z[:, j], config) for j, book in enumerate(codebooks)]
    return EMState(codebooks, surrogate, figures=figures_of(codebooks, z, losses, revived))


def move_codes(book: Codebook, z: Tensor, config: KMeansConfig) -> None:
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


def revived_codes(book: Codebook, z: Tensor, config: KMeansConfig) -> int:
    """Move codes that hardly anybody has, then all to their means; how many were moved."""
    moved = book.revive(z, min_share=config.revive_share / book.size) if config.revive_share > 0 else 0
    if moved:
        book.move_to_means(z)
    return moved
