"""Vector quantization of profiles (Eq. 5, 6): one codebook per facet, and the cures for its collapse.

Distances are measured after a linear map: a code is the nearest in  || A (z - e) ||^2. A = diag(1 / std) stops a
few loud dimensions from deciding; further rows of A can add directions that matter for clicks. Means are
optimal for every such A, so codes stay ordinary means of z.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor


class Quantized(NamedTuple):
    """quantized float [N, d]: codes behind a straight-through gate; indices int64 [N]; commit_loss float [N]."""

    quantized: Tensor
    indices: Tensor
    commit_loss: Tensor


class FacetCodes(torch.nn.Module, ABC):
    """What turns one facet's z [N, d] into its codes, in the metric `scale` (float32 [r, d], Eq. 6)."""

    scale: Tensor
    straight_through: str

    @abstractmethod
    def levels(self) -> list[Tensor]:
        """The vectors of each of its codes, float32 [K, d]; a profile is their sum, one of each."""

    @abstractmethod
    def assign(self, z: Tensor) -> Tensor:
        """The codes of z: int64 [N], or [N, L] where there are several."""


class Codebook(FacetCodes):
    """K codes e_k in R^d (parameter `codes`, float32 [K, d]) and the metric `scale` (float32 [r, d], Eq. 6).

    straight_through  "both": forward e_k, gradient to e_k and to z  (e + z - sg[z], docs/method.md#quantization)
                      "z":    forward e_k, gradient to z alone       (z + sg[e - z], as in VQ-VAE)
    """

    codes: Tensor

    def __init__(self, codes: Tensor, scale: Tensor, straight_through: str = "both") -> None:
        super().__init__()
        if straight_through not in ("both", "z"):
            raise ValueError(f"straight_through is 'both' or 'z', not {straight_through!r}")
        self.codes = torch.nn.Parameter(codes.clone())
        self.register_buffer("scale", scale.clone())
        self.straight_through = straight_through

    @property
    def size(self) -> int:
        """K."""
        return self.codes.shape[0]

    def levels(self) -> list[Tensor]:
        """Its codes."""
        return [self.codes.detach()]

    def assign(self, z: Tensor) -> Tensor:
        """Index of the nearest code for every z [N, d]: int64 [N]. Ties go to the lowest index."""
        with torch.no_grad():
            return squared_distances(z @ self.scale.T, self.codes @ self.scale.T).argmin(dim=1)

    def forward(self, z: Tensor, *, reduction: str = "sum") -> Quantized:
        """Quantize z [N, d]. The commitment || A (z - sg[e_k]) ||^2 is summed over A's rows, or averaged.

        The paper's mean over d, weighted .001, moves nothing at d = 768, so "sum" is the default
        (docs/method.md#quantization).
        """
        indices = self.assign(z)
        nearest = self.codes[indices]
        # z - sg[z] is exactly 0, so the forward value is the code to the last bit.
        chosen = nearest if self.straight_through == "both" else nearest.detach()
        gate = chosen + (z - z.detach())
        commit = ((z - nearest.detach()) @ self.scale.T).square()
        return Quantized(gate, indices, commit.sum(1) if reduction == "sum" else commit.mean(1))

    def codebook_loss(self, z: Tensor, *, reduction: str = "sum") -> Tensor:
        """|| A (sg[z] - e_k) ||^2 for every z: float [N]; gradient reaches the chosen codes only."""
        distance = ((z.detach() - self.codes[self.assign(z)]) @ self.scale.T).square()
        return distance.sum(1) if reduction == "sum" else distance.mean(1)

    @torch.no_grad()
    def move_to_means(self, z: Tensor, *, decay: float = 0.0) -> Tensor:
        """M step: e <- decay * e + (1 - decay) * mean of the z assigned to it. Returns the indices, int64 [N].

        decay 0 is the exact closed-form step. A code that nobody chose stays where it is: see `revive`.
        """
        indices = self.assign(z)
        count = torch.bincount(indices, minlength=self.size).to(z.dtype)
        mean = torch.zeros_like(self.codes).index_add_(0, indices, z) / count.clamp(min=1)[:, None]
        used = (count > 0)[:, None]
        self.codes.copy_(torch.where(used, decay * self.codes + (1 - decay) * mean, self.codes))
        return indices

    @torch.no_grad()
    def revive(self, z: Tensor, *, min_share: float) -> int:
        """Put every code with under `min_share` of the profiles onto the profile farthest from its own code.

        Returns how many were moved. Farthest first, so that two dead codes do not land on one point.
        """
        indices = self.assign(z)
        count = torch.bincount(indices, minlength=self.size)
        dead = torch.nonzero(count < min_share * z.shape[0])[:, 0].tolist()
        scaled = z @ self.scale.T
        distance = (scaled - (self.codes @ self.scale.T)[indices]).square().sum(1)
        for k in dead:
            farthest = int(distance.argmax())
            self.codes[k] = z[farthest]
            distance = torch.minimum(distance, (scaled - scaled[farthest]).square().sum(1))
        return len(dead)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """All squared Euclidean distances: a [N, r], b [K, r] -> [N, K]; without the [N, K, r] table."""
    # Seen from one of the points: where all lie far out, a^2 - 2ab + b^2 would cancel the distances away.
    a, b = a - b[0], b - b[0]
    return (a.square().sum(1)[:, None] - 2 * a @ b.T + b.square().sum(1)[None]).clamp(min=0)


def kmeans(z: Tensor, size: int, scale: Tensor, *, restarts: int, seed: int, iterations: int = 50) -> Tensor:
    """k-means++ with restarts on z [N, d] in the metric `scale` [r, d]: the best codes found, float32 [size, d].

    Start codebooks with it only after z has structure (docs/method.md#collapse): on a fresh z it collapses.
    """
    if len(z) == 0:
        raise ValueError("k-means needs at least one profile")
    x = z @ scale.T
    best_codes, best_inertia = z[:1], float("inf")
    for restart in range(restarts):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + restart)
        centres = _spread(x, size, generator)
        for _ in range(iterations):
            distance, index = squared_distances(x, centres).min(dim=1)
            count = torch.bincount(index, minlength=size)
            moved = torch.zeros_like(centres).index_add_(0, index, x) / count.clamp(min=1)[:, None]
            # A centre that lost everybody restarts at the point that is served worst.
            for k in torch.nonzero(count == 0)[:, 0].tolist():
                worst = int(distance.argmax())
                moved[k], distance[worst] = x[worst], 0.0
            if torch.allclose(moved, centres, atol=1e-6):
                break
            centres = moved
        distance, index = squared_distances(x, centres).min(dim=1)
        if float(distance.sum()) < best_inertia:
            best_inertia = float(distance.sum())
            count = torch.bincount(index, minlength=size)
            best_codes = torch.zeros(size, z.shape[1]).index_add_(0, index, z) / count.clamp(min=1)[:, None]
            best_codes[count == 0] = z[0]  # fewer distinct points than codes: duplicates, never chosen
    return best_codes


def _spread(x: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """k-means++: every further centre is drawn with probability proportional to its squared distance."""
    first = int(torch.randint(len(x), (1,), generator=generator))
    centres = [x[first]]
    distance = squared_distances(x, x[first][None])[:, 0]
    for _ in range(size - 1):
        total = float(distance.sum())
        if total <= 0:  # fewer distinct points than centres
            centres.append(x[int(torch.randint(len(x), (1,), generator=generator))])
            continue
        pick = torch.multinomial(distance / total, 1, generator=generator)
        centres.append(x[int(pick)])
        distance = torch.minimum(distance, squared_distances(x, x[int(pick)][None])[:, 0])
    return torch.stack(centres)
