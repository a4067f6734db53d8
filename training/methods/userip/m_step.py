"""The M step: fit codebooks and surrogate with all z fixed (docs/method.md#em)."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from userip.models.quantizers.codebook import Codebook, kmeans
from userip.models.quantizers.surrogate import Surrogate
from userip.training.crossfit.histories import Ints
from userip.training.crossfit.views import CrossFitViews
from userip.training.methods.table import ProfileTable
from userip.training.methods.userip.config import QuantizeConfig
from userip.training.methods.userip.state import EMState
from userip.training.quantize.metric import click_directions, scale_of, with_clicks


class Clicks:
    """Train rows as the surrogate sees them: item, label, and the view that does not contain the row.

    item int64 [n], label float32 [n], view int64 [n]. With folds, the view is the user's without the row's fold:
    the surrogate must not learn from a z that was computed from the very label it predicts.
    """

    def __init__(self, views: CrossFitViews) -> None:
        histories = views.histories
        trained = histories.owner < views.trained
        self.item = torch.from_numpy(histories.items[trained])
        self.label = torch.from_numpy(histories.liked[trained]).float()
        fold = views.fold[trained].astype(np.int64) if (views.without >= 0).any() else np.full(trained.sum(), -1)
        self.view: Ints = views.view_of(histories.owner[trained], fold)

    def __len__(self) -> int:
        return len(self.item)


def new_surrogate(z: Tensor, items: int, seed: int) -> Surrogate:
    """A fresh surrogate for profiles like z [n, J, D]."""
    torch.manual_seed(seed)
    means, stds = z.mean(dim=0), z.std(dim=0, correction=0)
    # A flat dimension is not blown up to noise.
    floor = 1e-3 * stds.max(dim=1, keepdim=True).values.clamp(min=1e-6)
    return Surrogate(items, list(means), list(stds.maximum(floor)))


def fit_surrogate(
    surrogate: Surrogate,
    codebooks: Sequence[Codebook],
    table: ProfileTable,
    clicks: Clicks,
    config: QuantizeConfig,
    seed: int,
) -> list[float]:
    """Fit phi on the train rows by BCE; returns the mean loss of every epoch, in nats.

    Without codebooks the surrogate reads dense z. With them it reads straight-through codes, and under
    `straight_through = "both"` and `update = "gradient"` the codes are fitted along (Eq. 5, L_rec). Where codes are
    exact means they stay: L_rec would drag a code off its users, others would take them, and it would end empty.
    """
    draw = np.random.default_rng([seed, 10])
    torch.manual_seed(seed)
    readers = list(surrogate.project.parameters())
    network = [weight for name, weight in surrogate.named_parameters() if not name.startswith("project.")]
    groups: list[dict[str, Any]] = [
        {"params": network, "lr": config.surrogate_lr, "weight_decay": config.surrogate_decay},
        {"params": readers, "lr": config.surrogate_lr, "weight_decay": config.projection_decay},
    ]
    if config.straight_through == "both" and config.update == "gradient":
        unit = [book.codes.detach().std().clamp(min=1e-8) for book in codebooks]
        groups += [
            {"params": [book.codes], "lr": float(config.surrogate_lr * scale)}
            for book, scale in zip(codebooks, unit, strict=True)
        ]
    optimiser = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.surrogate_epochs)
    surrogate.train()
    losses = []
    for _ in range(config.surrogate_epochs):
        order, total = draw.permutation(len(clicks)), 0.0
        for start in range(0, len(order), 2048):
            rows = order[start : start + 2048]
            if len(rows) < 2:  # batch normalisation needs two rows
                continue
            z = table[clicks.view[rows]].flatten(2)
            profiles = [codebooks[j](z[:, j]).quantized if codebooks else z[:, j] for j in range(z.shape[1])]
            index = torch.from_numpy(rows)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                surrogate(clicks.item[index], profiles), clicks.label[index]
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += float(loss.detach()) * len(rows)
        schedule.step()
        losses.append(total / max(len(order), 1))
    surrogate.eval()
    return losses


def dense_m_step(
    z: Tensor, table: ProfileTable, clicks: Clicks, items: int, config: QuantizeConfig, seed: int
) -> EMState:
    """A surrogate on dense z, for an E step on clicks: there are no codebooks yet."""
    surrogate = new_surrogate(z, items, seed)
    losses = fit_surrogate(surrogate, [], table, clicks, config, seed)
    return EMState([], surrogate, figures=_figures([], z, losses, []))


def first_m_step(
    z: Tensor,
    table: ProfileTable,
    clicks: Clicks,
    sizes: Sequence[int],
    items: int,
    config: QuantizeConfig,
    seed: int,
) -> EMState:
    """S3: a surrogate on dense z shows which directions matter; codebooks start as k-means of z [n, J, D]."""
    surrogate, losses = None, []
    scales = [scale_of(z[:, j], config.metric) for j in range(z.shape[1])]
    if config.surrogate:
        surrogate = new_surrogate(z, items, seed)
        losses = fit_surrogate(surrogate, [], table, clicks, config, seed)
        if config.click_weight > 0:
            rows = np.random.default_rng([seed, 11]).permutation(len(clicks))[:20_000]
            dense = table[clicks.view[rows]].flatten(2)
            directions = click_directions(surrogate, clicks.item[torch.from_numpy(rows)], list(dense.unbind(1)))
            scales = [with_clicks(scale, directions[j], z[:, j], config.click_weight) for j, scale in enumerate(scales)]
    codebooks = []
    for j, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        if config.start == "uniform":
            generator = torch.Generator().manual_seed(seed)
            codes = (torch.rand(size, z.shape[2], generator=generator) * 2 - 1) / size
        else:
            codes = kmeans(z[:, j], size, scale, restarts=config.restarts, seed=seed)
        codebooks.append(Codebook(codes, scale, config.straight_through))
    revived = [_revive(book, z[:, j], config) for j, book in enumerate(codebooks)] if config.start == "kmeans" else []
    if surrogate is not None and config.rounds:
        # From here on it reads codes, as the recommender will.
        losses += fit_surrogate(surrogate, codebooks, table, clicks, config, seed)
    return EMState(codebooks, surrogate, figures=_figures(codebooks, z, losses, revived))


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
    revived = [] if last else [_revive(book, z[:, j], config) for j, book in enumerate(codebooks)]
    return EMState(codebooks, surrogate, figures=_figures(codebooks, z, losses, revived))


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


def _revive(book: Codebook, z: Tensor, config: QuantizeConfig) -> int:
    moved = book.revive(z, min_share=config.revive_share / book.size) if config.revive_share > 0 else 0
    if moved:
        book.move_to_means(z)
    return moved


def _figures(codebooks: Sequence[Codebook], z: Tensor, losses: list[float], revived: list[int]) -> dict[str, Any]:
    books = []
    for j, book in enumerate(codebooks):
        usage = book.usage(book.assign(z[:, j]))
        distortion = float(book(z[:, j]).commit_loss.detach().mean())
        books.append({"perplexity": round(usage.perplexity, 4), "distortion": round(distortion, 6)})
    return {"codebooks": books, "surrogate_loss": [round(loss, 5) for loss in losses], "revived": revived}
