"""One path from a history to a profile, for users of the training run and for those who come later.

infer      start, then E steps under likelihood and prior
round k    E steps on the clicks of the history, or on likelihood, codebooks and surrogate of M step k
Fold-in is all of it in turn, with everything frozen: a user who is folded in gets the code that training would have
given to the same history.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from userip.training.config import TrainConfig
from userip.training.crossfit.histories import Histories, Ints
from userip.training.crossfit.views import CrossFitViews
from userip.training.language.frozen import FrozenLM
from userip.training.language.prompt_builder import PromptBuilder
from userip.training.language.sequences import batches, token_lengths
from userip.training.language.slot_initializer import SlotInitializer
from userip.training.methods.table import ProfileTable
from userip.training.methods.userip.click_step import click_step
from userip.training.methods.userip.e_step import Objective, e_step, objective_terms
from userip.training.methods.userip.probe import Choice
from userip.training.methods.userip.prompt_init import PromptInit
from userip.training.methods.userip.state import EMState
from userip.training.progress import track


@dataclass(frozen=True, eq=False)
class Inference:
    """Everything that an E step needs, frozen. `rounds`: the states that M steps have left so far."""

    lm: FrozenLM
    reader: PromptBuilder
    fillers: SlotInitializer
    start: PromptInit
    choice: Choice
    config: TrainConfig
    rounds: tuple[EMState, ...]

    def then(self, state: EMState) -> "Inference":
        """The same with one more M step behind it."""
        return replace(self, rounds=(*self.rounds, state))

    def infer(self, histories: Histories, views: Ints, seed: int) -> Tensor:
        """z [B, J, m, d] before any codebook."""
        begin = self.start.of(self.lm, self.fillers, histories, views)
        return e_step(
            self.lm, self.reader, histories, begin, begin, self.start.subspace, Objective(prior=self.choice.prior),
            steps=self.choice.steps, lr=self.config.infer.lr,
            items_per_step=self.config.infer.items_per_step, title_stride=self.config.infer.title_stride, seed=seed,
        )  # fmt: skip

    def round(self, number: int, histories: Histories, views: Ints, z: Tensor, inferred: Tensor, seed: int) -> Tensor:
        """z after the E steps of round `number`; `inferred` is what `infer` gave."""
        state, settings = self.rounds[number], self.config.quantize
        if not state.codebooks and state.surrogate is not None:
            return click_step(
                state.surrogate, histories, z, inferred, self.start.subspace,
                prior=settings.click_prior, steps=settings.click_steps, lr=settings.click_lr,
            )  # fmt: skip
        centre = self.start.of(self.lm, self.fillers, histories, views)
        objective = state.objective(self.choice.prior, settings)
        return e_step(
            self.lm, self.reader, histories, z, centre, self.start.subspace, objective,
            steps=settings.steps, lr=settings.lr,
            items_per_step=self.config.infer.items_per_step, title_stride=self.config.infer.title_stride,
            seed=seed + 1000 * (number + 1),
        )  # fmt: skip

    def fold_in(self, histories: Histories, seed: int, label: str = "fold-in") -> Tensor:
        """Codes int64 [U, J] of new histories: the whole path in turn, then the nearest codes of the last state."""
        codes = torch.zeros((len(histories), len(self.reader.facets)), dtype=torch.int64)
        cap = int(self.config.infer.items_per_step * float(self.reader.texts.length.mean()))
        lengths = np.minimum(token_lengths(histories, self.reader.texts), cap)
        groups = batches(lengths, len(self.reader.prompt.tokens), self.config.infer.batch_tokens)
        for users in track(groups, label=label):
            part = histories.of(users)
            z = inferred = self.infer(part, users, seed)
            for number in range(len(self.rounds) - 1):
                z = self.round(number, part, users, z, inferred, seed)
            codes[torch.from_numpy(users)] = self.rounds[-1].assign(z)
        return codes

    def balanced(self, state: EMState, table: ProfileTable, views: CrossFitViews, groups: list[Ints]) -> EMState:
        """Set the weight of L_rec: gamma, or gamma times the ratio of the gradients of L_LM and L_rec on eps."""
        settings = self.config.quantize
        if state.surrogate is None or settings.gamma == 0:
            return state
        if not settings.balance:
            return replace(state, rec=settings.gamma)
        members = groups[len(groups) // 2]
        histories = views.of_views(members).last(self.config.infer.items_per_step)
        z = table[members]
        centre = self.start.of(self.lm, self.fillers, histories, members)
        eps = self.start.subspace.eps(centre, z).requires_grad_(True)
        objective = replace(state, rec=1.0).objective(self.choice.prior, settings)
        known = torch.from_numpy(histories.lengths).clamp(min=1).float()
        terms = objective_terms(
            self.lm, self.reader, self.reader.batch(histories), histories,
            self.start.subspace.z(centre, eps), eps, objective, known,
        )  # fmt: skip
        norms = [
            float(torch.autograd.grad(term.sum(), eps, retain_graph=True)[0].norm()) for term in (terms.nll, terms.rec)
        ]
        rec = settings.gamma * norms[0] / max(norms[1], 1e-12)
        figures = state.figures | {"gradient_norms": {"lm": norms[0], "rec": norms[1]}, "rec_weight": rec}
        return replace(state, rec=rec, figures=figures)
