"""From a history to a profile, for users of the training run and for those who come later.

infer      start, then E steps under likelihood and prior
refine     E steps on the clicks of the history, or on likelihood, codebooks and surrogate of an M step

What is fitted: start.safetensors, the shared prompt and the subspace; choice.json, steps, prior and what they were
chosen on. The language model is opened when a text is read first.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from userip.files import write_text
from userip.training.crossfit.histories import Histories, Ints
from userip.training.crossfit.views import CrossFitViews, ViewKeys
from userip.training.language.language import Language, load_language
from userip.training.language.sequences import batches
from userip.training.methods.config import ProfileConfig
from userip.training.methods.em_state import EMState
from userip.training.methods.refine_config import RefineConfig
from userip.training.methods.table import ProfileTable
from userip.training.methods.userip.click_step import click_step
from userip.training.methods.userip.config import InferConfig
from userip.training.methods.userip.e_step import Objective, e_step, objective_terms
from userip.training.methods.userip.method import own
from userip.training.methods.userip.probe import Choice, select_e_steps
from userip.training.methods.userip.prompt_init import PromptInit, fit_prompt_init


@dataclass(frozen=True, eq=False)
class Inference:
    """Everything that an E step needs, frozen; `load` opens the language model."""

    start: PromptInit
    choice: Choice
    settings: InferConfig
    seed: int
    load: Callable[[], Language]

    @classmethod
    def open(cls, run: Path, out: Path, config: ProfileConfig, seed: int) -> "Inference":
        """What was fitted in `out`, with the language model of RUN/language."""
        choice = Choice(**json.loads((out / "choice.json").read_bytes()))
        load = partial(open_language, run, config)
        return cls(PromptInit.load(out / "start.safetensors"), choice, own(config), seed, load)

    @cached_property
    def language(self) -> Language:
        """The language model, opened once."""
        return self.load()

    @property
    def items(self) -> pl.DataFrame:
        """The catalogue of RUN/language."""
        return self.language.prompts.items

    @property
    def shape(self) -> tuple[int, int, int]:
        """(J, m, d)."""
        J, m, d = self.start.shared.shape
        return J, m, d

    @property
    def figures(self) -> Mapping[str, Any]:
        """What the choice of steps and prior rests on."""
        return {"probe": self.choice.figures}

    def batches(self, views: CrossFitViews) -> list[Ints]:
        """Batches of views of like length. A long history counts as what one step samples of it."""
        prompts = self.language.prompts
        tokens = prompts.texts.length[views.histories.liked.astype(np.int64), views.histories.items]
        cap = self.settings.items_per_step * float(prompts.texts.length.mean())
        lengths = np.minimum(views.sums(tokens), int(cap))
        return batches(lengths, len(prompts.prompt.tokens), self.settings.batch_tokens)

    def infer(self, histories: Histories, keys: ViewKeys) -> Tensor:
        """z [B, J, m, d] before any codebook. Of the keys, only what is drawn at random depends on the rows."""
        begin = self.start.of(self.language, histories, keys.row)
        objective = Objective(prior=self.choice.prior)
        return self._moved(histories, begin, begin, objective, self.choice.steps, self.settings.lr, self.seed)

    def refine(
        self,
        number: int,
        state: EMState,
        histories: Histories,
        keys: ViewKeys,
        z: Tensor,
        inferred: Tensor,
        settings: RefineConfig,
    ) -> Tensor:
        """z after the E steps of round `number`: on clicks alone while there are no codebooks."""
        if not state.codebooks and state.surrogate is not None:
            return click_step(
                state.surrogate, histories, z, inferred, self.start.subspace,
                prior=settings.click_prior, steps=settings.click_steps, lr=settings.click_lr,
            )  # fmt: skip
        centre = self.start.of(self.language, histories, keys.row)
        objective = Objective.under(state, self.choice.prior, settings)
        seed = self.seed + 1000 * (number + 1)
        return self._moved(histories, z, centre, objective, settings.steps, settings.lr, seed)

    def balanced(self, state: EMState, table: ProfileTable, views: CrossFitViews, settings: RefineConfig) -> EMState:
        """Set the weight of L_rec: gamma, or gamma times the ratio of the gradients of L_LM and L_rec on eps."""
        if state.surrogate is None or settings.gamma == 0:
            return state
        if not settings.balance:
            return replace(state, rec=settings.gamma)
        groups = self.batches(views)
        members = groups[len(groups) // 2]
        histories = views.of_views(members).last(self.settings.items_per_step)
        centre = self.start.of(self.language, histories, members)
        eps = self.start.subspace.eps(centre, table[members]).requires_grad_(True)
        objective = Objective.under(replace(state, rec=1.0), self.choice.prior, settings)
        known = torch.from_numpy(histories.lengths).clamp(min=1).float()
        z = self.start.subspace.z(centre, eps)
        batch = self.language.prompts.batch(histories)
        terms = objective_terms(self.language, batch, histories, z, eps, objective, known)
        norms = [
            float(torch.autograd.grad(term.sum(), eps, retain_graph=True)[0].norm()) for term in (terms.nll, terms.rec)
        ]
        rec = settings.gamma * norms[0] / max(norms[1], 1e-12)
        figures = state.figures | {"gradient_norms": {"lm": norms[0], "rec": norms[1]}, "rec_weight": rec}
        return replace(state, rec=rec, figures=figures)

    def _moved(
        self, histories: Histories, z: Tensor, centre: Tensor, objective: Objective, steps: int, lr: float, seed: int
    ) -> Tensor:
        return e_step(
            self.language, histories, z, centre, self.start.subspace, objective,
            steps=steps, lr=lr, items_per_step=self.settings.items_per_step, title_stride=self.settings.title_stride,
            seed=seed,
        )  # fmt: skip


def fit_inference(train: Histories, run: Path, out: Path, config: ProfileConfig, seed: int) -> Inference:
    """Fit start and choice to train histories; what an interrupted run has left in `out` is kept."""
    language = open_language(run, config)
    file = out / "start.safetensors"
    if not file.is_file():
        fit_prompt_init(language, train, own(config), seed).save(file)
    start, file = PromptInit.load(file), out / "choice.json"
    if not file.is_file():
        made = select_e_steps(language, train, start, own(config), seed)
        write_text(file, json.dumps(made._asdict(), indent=1))
    choice = Choice(**json.loads(file.read_bytes()))
    return Inference(start, choice, own(config), seed, lambda: language)


def open_language(run: Path, config: ProfileConfig) -> Language:
    """RUN/language, with this run's number of soft tokens."""
    language = load_language(run / "language", config.language.path, config.language.dtype)
    return language._replace(prompts=replace(language.prompts, soft_tokens=own(config).soft_tokens))
