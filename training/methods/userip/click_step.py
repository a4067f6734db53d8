"""E steps on clicks alone: profiles move to where the surrogate explains their histories' labels best.

The likelihood of the text is not computed anew: around the profile that the language model inferred it stands as a
Gaussian in the subspace's coordinates (Laplace), so a user's objective is

    prior * || eps - eps_LM ||^2  +  sum over the history of BCE( f_phi(i, z), y )          (L_rec of Eq. 5, dense z)

and a step costs a small network instead of a language model. Users are independent: any batch gives the same.
"""

import numpy as np
import torch
from torch import Tensor

from userip.models.quantizers.surrogate import Surrogate
from userip.training.crossfit.histories import Histories
from userip.training.methods.userip.e_step import Subspace


def click_step(
    surrogate: Surrogate,
    histories: Histories,
    z: Tensor,
    inferred: Tensor,
    subspace: Subspace,
    *,
    prior: float,
    steps: int,
    lr: float,
) -> Tensor:
    """Move z float32 [B, J, m, d] for `steps` Adam steps; `lr` and the prior are in the starts' standard deviations.

    `inferred` [B, J, m, d] is where the language model put the users. Who has no history stays there.
    """
    surrogate.requires_grad_(False).eval()
    owner = torch.from_numpy(histories.owner)
    items = torch.from_numpy(histories.items)
    label = torch.from_numpy(histories.liked).float()
    rows = torch.from_numpy(np.maximum(histories.lengths, 1)).float()[:, None, None, None]
    eps = subspace.eps(inferred, z).requires_grad_(True)
    optimiser = torch.optim.Adam([eps], lr=lr, betas=(0.9, 0.99))
    for _ in range(steps):
        profiles = subspace.z(inferred, eps).flatten(2)
        logits = surrogate(items, [profiles[owner, j] for j in range(profiles.shape[1])])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="sum")
        (gradient,) = torch.autograd.grad(loss + prior * eps.square().sum(), eps)
        eps.grad = gradient / rows
        optimiser.step()
    with torch.no_grad():
        moved = subspace.z(inferred, eps)
    empty = torch.from_numpy(histories.lengths == 0)[:, None, None, None]
    return torch.where(empty, inferred, moved)
