"""Item vectors, and tastes in closed form given these.

    v_i = W x_i + D_i                       x_i: which attributes an item has
    r_j = alpha (liked_j - sigma(ease_j)) + beta (rating_j - stars_j)
    z   = (I + sum_j v_j v_j^T)^-1 sum_j (r_j - g) v_j      g = sum_j r_j / (n + s), what is so for all items

z is the posterior mean of a taste with prior N(0, I) when the events' residuals are z . v_j with noise of variance 1:
few events leave it near 0. W, D, alpha, beta and s are fitted so that every train row is told by the other events of
its user, sigma(level + z_without_i . v_i). With A = I + sum_j v_j v_j^T, q = A^-1 v_i and h = v_i . q, a rank-one
update gives that for all rows at once, sums over j without i:

    z_without_i . v_i = q . (sum_j (r_j - g) v_j) / (1 - h)

Penalty: W and D are normal around 0 with the precisions of `strengths`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from userip.training.judging.events import Events

START: Final = 0.03  # spread of the vectors before the first step


@dataclass(frozen=True, eq=False)
class Tensors:
    """Events as `Vectors` takes them: owner, items int64 [n]; liked, surprise, above float32 [n]."""

    users: int
    owner: Tensor
    items: Tensor
    liked: Tensor
    surprise: Tensor
    above: Tensor

    @classmethod
    def of(cls, events: Events) -> "Tensors":
        """As tensors."""
        floats = (torch.from_numpy(x.astype(np.float32)) for x in (events.liked, events.surprise, events.above))
        return cls(events.users, torch.from_numpy(events.owner), torch.from_numpy(events.items), *floats)


class Vectors(nn.Module):
    """The fitted vectors. attributes float32 [I, a]: 1 where an item has an attribute."""

    attributes: Tensor

    def __init__(self, attributes: Tensor, dimensions: int) -> None:
        super().__init__()
        items, width = attributes.shape
        self.register_buffer("attributes", attributes, persistent=False)
        self.of_attributes = nn.Parameter(START * torch.randn(width, dimensions))
        self.of_items = nn.Parameter(START * torch.randn(items, dimensions))
        self.alpha = nn.Parameter(torch.tensor(1.0))
        self.beta = nn.Parameter(torch.tensor(0.5))
        self.shrinkage = nn.Parameter(torch.tensor(1.0))

    def items(self) -> Tensor:
        """v float32 [I, k]."""
        return self.attributes @ self.of_attributes + self.of_items

    def penalty(self, strengths: tuple[float, float]) -> Tensor:
        """Minus the log-density of W and D."""
        return 0.5 * (strengths[0] * self.of_attributes.square().sum() + strengths[1] * self.of_items.square().sum())

    def tastes(self, events: Tensors) -> Tensor:
        """z float32 [U, k] of whole histories."""
        r = self._residual(events)
        sums = self._sums(self.items()[events.items], r, torch.ones_like(r), events)
        g = sums.residual / (sums.count + self._prior())
        z: Tensor = torch.linalg.solve(sums.precision, (sums.pull - g[:, None] * sums.total)[:, :, None])[:, :, 0]
        return z

    def left_out(self, events: Tensors, kept: Tensor) -> Tensor:
        """z . v_i of every event from its user's other events, of those with kept [n] = 1: float32 [n]."""
        v, r, owner = self.items()[events.items], self._residual(events), events.owner
        sums = self._sums(v, r, kept, events)
        q = (torch.linalg.inv(sums.precision)[owner] @ v[:, :, None])[:, :, 0]
        h = (v * q).sum(1) * kept
        g = (sums.residual[owner] - r * kept) / ((sums.count[owner] - kept).clamp(min=0) + self._prior())
        pull = sums.pull[owner] - v * (r * kept)[:, None]
        total = sums.total[owner] - v * kept[:, None]
        told: Tensor = (q * (pull - g[:, None] * total)).sum(1) / (1 - h)
        return told

    def _residual(self, events: Tensors) -> Tensor:
        return self.alpha * events.surprise + self.beta * events.above

    def _prior(self) -> Tensor:
        return nn.functional.softplus(self.shrinkage)

    def _sums(self, v: Tensor, r: Tensor, kept: Tensor, events: Tensors) -> "_Sums":
        users, k = events.users, v.shape[1]
        mine = v * kept[:, None]

        def added(start: Tensor, values: Tensor) -> Tensor:
            return start.index_add(0, events.owner, values)

        return _Sums(
            added(torch.eye(k).repeat(users, 1, 1), mine[:, :, None] * v[:, None, :]),
            added(torch.zeros(users, k), mine * r[:, None]),
            added(torch.zeros(users, k), mine),
            added(torch.zeros(users), r * kept),
            added(torch.zeros(users), kept),
        )


@dataclass(frozen=True, eq=False)
class _Sums:
    """Per user: I + sum v v^T [U, k, k], sum r v [U, k], sum v [U, k], sum r [U], events [U]."""

    precision: Tensor
    pull: Tensor
    total: Tensor
    residual: Tensor
    count: Tensor


def rotated(vectors: Tensor, weight: NDArray[np.float64]) -> Tensor:
    """B float32 [k, k]: v B^-T and z B leave every z . v as it is, and |z B|^2 is what z adds to logits in the mean.

    vectors float32 [I, k], weight float64 [I]: how often items are met. Columns in the order of what they add.
    """
    v = vectors.double()
    moment = (v * torch.from_numpy(weight / weight.sum())[:, None]).T @ v
    values, axes = torch.linalg.eigh(moment)
    values, axes = values.flip(0).clamp(min=1e-12), axes.flip(1)
    sign = torch.sign(axes.gather(0, axes.abs().argmax(dim=0)[None]))[0]  # an eigenvector has no sign of its own
    basis: Tensor = (axes * sign * values.sqrt()).float()
    return basis
