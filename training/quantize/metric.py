"""The metric in which profiles are quantized: which differences between two users are worth a code.

    || A (z - e) ||^2 ,   A = [ diag(1 / std) / sqrt(D) ;  w * sqrt(lambda_r) v_r^T ]

The first rows make every dimension count alike. The further rows are the leading eigenvectors of
G = E[ (d logit / d z) (d logit / d z)^T ], the surrogate's sensitivity: delta^T G delta is, to first order, the change
of the click logit when z moves by delta. So k-means minimises what quantization costs in clicks, beside what it
costs in likeness. See docs/method.md#quantization.
"""

import numpy as np
import torch
from torch import Tensor

from userip.models.quantizers.surrogate import Surrogate
from userip.training.quantize.clicks import fit_surrogate, new_surrogate
from userip.training.quantize.config import QuantizeConfig
from userip.training.quantize.protocol import Problem


def click_metric(problem: Problem, config: QuantizeConfig) -> tuple[list[Tensor], Surrogate | None, list[float]]:
    """A of every facet, float32 [r, D]; the surrogate of dense z that showed which directions matter; its losses."""
    z, clicks = problem.z, problem.clicks
    scales = [scale_of(z[:, j], config.metric) for j in range(z.shape[1])]
    if not config.surrogate:
        return scales, None, []
    surrogate = new_surrogate(z, problem.items, problem.seed)
    losses = fit_surrogate(surrogate, [], problem, config)
    if config.click_weight > 0:
        rows = np.random.default_rng([problem.seed, 11]).permutation(len(clicks))[:20_000]
        dense = problem.table[clicks.view[rows]].flatten(2)
        directions = click_directions(surrogate, clicks.item[torch.from_numpy(rows)], list(dense.unbind(1)))
        scales = [with_clicks(scale, directions[j], z[:, j], config.click_weight) for j, scale in enumerate(scales)]
    return scales, surrogate, losses


def scale_of(z: Tensor, kind: str) -> Tensor:
    """A for profiles z [n, D] without clicks: float32 [D, D]. `standardised` (total variance 1) or `plain`."""
    if kind == "plain":
        return torch.eye(z.shape[1])
    std = z.std(dim=0, correction=0)
    # A dimension in which nobody differs stays out: dividing by its rounding error would make it the loudest.
    inverse = torch.where(std > 1e-6 * std.max().clamp(min=1e-12), 1 / std.clamp(min=1e-12), 0.0)
    scale: Tensor = torch.diag(inverse) / max(int((inverse > 0).sum()), 1) ** 0.5
    return scale


def click_directions(surrogate: Surrogate, items: Tensor, profiles: list[Tensor], rank: int = 8) -> list[Tensor]:
    """sqrt(lambda_r) v_r^T of G for every facet: float32 [rank, D], from rows (item, dense profiles [n, D])."""
    surrogate.eval()
    inputs = [z.clone().requires_grad_(True) for z in profiles]
    gradients = torch.autograd.grad(surrogate(items, inputs).sum(), inputs)
    directions = []
    for gradient in gradients:
        values, vectors = torch.linalg.eigh(gradient.double().T @ gradient.double() / len(gradient))
        top = values[-rank:].clamp(min=0).sqrt()[:, None] * vectors[:, -rank:].T
        directions.append(top.float())
    return directions


def with_clicks(scale: Tensor, directions: Tensor, z: Tensor, weight: float) -> Tensor:
    """Append click directions so that their variance over z [n, D] is `weight` times that of `scale`."""
    spread = (z @ directions.T).var(dim=0, correction=0).sum()
    if weight <= 0 or spread <= 0:
        return scale
    before = (z @ scale.T).var(dim=0, correction=0).sum()
    return torch.cat([scale, directions * (weight * before / spread).sqrt()])
