"""Clicks of train rows, and the surrogate that learns them from profiles: which directions of z matter."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from userip.models.quantizers.codebook import Codebook
from userip.models.quantizers.surrogate import Surrogate
from userip.training.crossfit.histories import Ints
from userip.training.crossfit.views import CrossFitViews
from userip.training.quantize.config import QuantizeConfig
from userip.training.quantize.protocol import Problem


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
    problem: Problem,
    config: QuantizeConfig,
    *,
    learn_codes: bool = False,
) -> list[float]:
    """Fit phi on the train rows by BCE; returns the mean loss of every epoch, in nats.

    Without codebooks the surrogate reads dense z. With them it reads straight-through codes, which `learn_codes` fits
    along (Eq. 5, L_rec).
    """
    table, clicks, seed = problem.table, problem.clicks, problem.seed
    draw = np.random.default_rng([seed, 10])
    torch.manual_seed(seed)
    readers = list(surrogate.project.parameters())
    network = [weight for name, weight in surrogate.named_parameters() if not name.startswith("project.")]
    groups: list[dict[str, Any]] = [
        {"params": network, "lr": config.surrogate_lr, "weight_decay": config.surrogate_decay},
        {"params": readers, "lr": config.surrogate_lr, "weight_decay": config.projection_decay},
    ]
    if learn_codes:
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
