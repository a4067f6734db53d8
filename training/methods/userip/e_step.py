"""The E step: infer soft prompts z_u with everything else fixed (docs/method.md#e-step; Eq. 2, 4, 7).

Users are independent given the frozen model, codebooks and surrogate, so a batch of users is optimised on its own,
from start to end, with its own Adam state: no row moves by the momentum of another batch, any batch can be redone
alone, and a new user is folded in by the very same function.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from userip.models.prompt.token_loss import token_loss
from userip.models.quantizers.codebook import Codebook
from userip.models.quantizers.surrogate import Surrogate
from userip.training.crossfit.histories import Histories
from userip.training.language.language import Language
from userip.training.language.sequences import Batch, put_in_slots
from userip.training.methods.em_state import EMState
from userip.training.methods.refine_config import RefineConfig


@dataclass(frozen=True, eq=False)
class Objective:
    """What z is pulled by, beside the likelihood of the history. Weights of 0 switch a term off.

    prior       1 / (2 s^2): weight of the prior || eps ||^2, with z = centre + C eps (see `Subspace`)
    commitment  gamma * alpha * beta of Eq. 5, 7: weight of || z - sg[e_k] ||^2
    rec         gamma of Eq. 7: weight of the surrogate's mean BCE over the history's own labels
    reduction   of the commitment over the dimensions: sum, or mean as in the paper
    """

    prior: float = 0.0
    commitment: float = 0.0
    rec: float = 0.0
    reduction: str = "sum"
    codebooks: Sequence[Codebook] = field(default=())
    surrogate: Surrogate | None = None

    @classmethod
    def under(cls, state: EMState, prior: float, settings: RefineConfig) -> "Objective":
        """That of the E step after an M step: its codebooks and its surrogate are fixed from here on."""
        for module in (*state.codebooks, *([state.surrogate] if state.surrogate else [])):
            module.requires_grad_(False).eval()
        return cls(
            prior=prior,
            commitment=settings.gamma * settings.alpha * settings.beta,
            rec=state.rec,
            reduction=settings.reduction,
            codebooks=state.flat,
            surrogate=state.surrogate,
        )


class Subspace(NamedTuple):
    """Where profiles may move:  z = centre + C_j eps  with a standard normal prior on eps.

    basis float32 [J, d, r]: C_j; inverse float32 [J, r, d]: its pseudo-inverse. A history of ten items cannot
    place a user along 128 directions; it can along the few in which users differ at all.
    """

    basis: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, points: Tensor, rank: int) -> "Subspace":
        """Principal directions of points [J, n, d], each as long as the points' standard deviation along it."""
        centred = points - points.mean(dim=1, keepdim=True)
        _, size, direction = torch.linalg.svd(centred, full_matrices=False)
        rank = min(rank, size.shape[1])
        scale = size[:, :rank] / points.shape[1] ** 0.5
        basis = direction[:, :rank].transpose(1, 2) * scale[:, None]
        # A direction without any spread stays closed: dividing by it would blow rounding up.
        open_ = scale > 1e-4 * scale.max()
        basis = basis * open_[:, None]
        inverse = torch.where(open_, 1 / scale.clamp(min=1e-12), 0.0)[:, :, None] * direction[:, :rank]
        return cls(basis, inverse)

    @classmethod
    def stack(cls, parts: "Sequence[Subspace]") -> "Subspace":
        """Subspaces of one facet each as one; those of lower rank are padded with closed directions."""
        rank = max(part.basis.shape[2] for part in parts)
        pad = torch.nn.functional.pad
        return cls(
            torch.cat([pad(part.basis, (0, rank - part.basis.shape[2])) for part in parts]),
            torch.cat([pad(part.inverse, (0, 0, 0, rank - part.inverse.shape[1])) for part in parts]),
        )

    @classmethod
    def whole(cls, facets: int, width: int, scale: float) -> "Subspace":
        """Every direction alike: C = scale * identity, as in the paper."""
        eye = torch.eye(width).expand(facets, -1, -1)
        return cls(eye * scale, eye / scale)

    def z(self, centre: Tensor, eps: Tensor) -> Tensor:
        """centre [B, J, m, d], eps [B, J, m, r] -> z [B, J, m, d]."""
        return centre + torch.einsum("bjmr,jdr->bjmd", eps, self.basis)

    def eps(self, centre: Tensor, z: Tensor) -> Tensor:
        """The inverse of `z`, for z in the subspace."""
        return torch.einsum("bjmd,jrd->bjmr", z - centre, self.inverse)


class Terms(NamedTuple):
    """The parts of the objective, each float32 [B], one value per user; `nll` in weighted nats per item."""

    nll: Tensor
    prior: Tensor
    commitment: Tensor
    rec: Tensor

    @property
    def per_user(self) -> Tensor:
        """Their sum, float32 [B]. Users do not interact: the gradient of its sum is every user's own."""
        return self.nll + self.prior + self.commitment + self.rec


def states(language: Language, batch: Batch, z: Tensor) -> Tensor:
    """Last hidden states at the positions that predict: [n, d] for z [B, J, m, d]."""
    with torch.no_grad():
        words = language.lm.embed(batch.tokens)
    filled = put_in_slots(words, language.prompts.prompt, z)
    hidden = language.lm.hidden(filled, batch.mask(words.dtype), batch.position)
    return hidden.flatten(0, 1)[batch.source]


def user_nll(language: Language, batch: Batch, z: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted nats per user [B] (with gradient through their sum) and nats per token [n] (without).

    Eq. 4. `weight` [n] is the weight of every supervised token.
    """
    lm = language.lm
    loss, nll = token_loss(states(language, batch, z), lm.head, batch.target, weight, bias=lm.head_bias)
    per_user = torch.zeros(len(z)).index_add_(0, batch.row, nll * weight)
    # Values per user, but one gradient through the sum: d sum / d z_u = d nll_u / d z_u, as nobody else sees z_u.
    return per_user + (loss - loss.detach()) / len(z), nll


def objective_terms(
    language: Language,
    batch: Batch,
    histories: Histories,
    z: Tensor,
    eps: Tensor,
    objective: Objective,
    known: Tensor,
) -> Terms:
    """All terms for B users at z [B, J, m, d], per item of the history as in docs/method.md#e-step.

    `histories` may be a sample; `known` float32 [B] is the length of the whole history: the prior counts once
    against all of it.
    """
    items = torch.from_numpy(histories.lengths).clamp(min=1).float()
    nll, _ = user_nll(language, batch, z, batch.weight / items[batch.row])
    zero = torch.zeros(len(z))
    prior = commitment = rec = zero
    if objective.prior > 0:
        prior = objective.prior * eps.square().sum((1, 2, 3)) / known
    if objective.codebooks:
        quantized = [
            book(z[:, j].flatten(1), reduction=objective.reduction) for j, book in enumerate(objective.codebooks)
        ]
        if objective.commitment > 0:
            commitment = objective.commitment * sum((q.commit_loss for q in quantized), zero) / known
        if objective.surrogate is not None and objective.rec > 0:
            owner = torch.from_numpy(histories.owner)
            logits = objective.surrogate(torch.from_numpy(histories.items), [q.quantized[owner] for q in quantized])
            label = torch.from_numpy(histories.liked).float()
            bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
            rec = objective.rec * torch.zeros(len(z)).index_add_(0, owner, bce / items[owner])
    return Terms(nll, prior, commitment, rec)


def e_step(
    language: Language,
    histories: Histories,
    z: Tensor,
    centre: Tensor,
    subspace: Subspace,
    objective: Objective,
    *,
    steps: int,
    lr: float,
    items_per_step: int,
    seed: int,
    title_stride: int = 1,
) -> Tensor:
    """Move z float32 [B, J, m, d] for `steps` Adam steps on eps; `lr` is in the prior's standard deviations.

    Long histories are sampled anew in every step, title tokens in turn (`title_stride`), both by `seed` and item
    alone: a user's z does not depend on who else is in the batch, so fold-in gives what training gave. A user without
    history keeps its start, and so does one whose objective, on what the first step saw, came out worse.
    """
    eps = subspace.eps(centre, z).requires_grad_(True)
    optimiser = torch.optim.Adam([eps], lr=lr, betas=(0.9, 0.99))
    known = torch.from_numpy(histories.lengths).clamp(min=1).float()
    keep = torch.from_numpy(histories.lengths == 0)
    seen: tuple[Histories, Batch, Tensor] | None = None
    for turn in range(steps):
        part = histories.pick(items_per_step, seed + turn)
        batch = language.prompts.batch(part).every(title_stride, turn)
        terms = objective_terms(language, batch, part, subspace.z(centre, eps), eps, objective, known)
        if seen is None:
            seen = part, batch, terms.per_user.detach()
        (eps.grad,) = torch.autograd.grad(terms.per_user.sum(), eps)
        optimiser.step()
    with torch.no_grad():
        moved = subspace.z(centre, eps)
        if seen is not None:
            part, batch, before = seen
            after = objective_terms(language, batch, part, moved, eps, objective, known).per_user
            keep |= ~(after <= before)  # so that what is not a number goes too
        return torch.where(keep[:, None, None, None], z, moved)
