"""Where profiles start (docs/method.md#start-and-prior): shared prompt, slot words, and directions to move in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from userip.files import beside
from userip.training.crossfit.histories import Histories, Ints
from userip.training.language.language import Language
from userip.training.methods.userip.config import InferConfig
from userip.training.methods.userip.e_step import Subspace, user_nll
from userip.training.progress import track


@dataclass(frozen=True, eq=False)
class PromptInit:
    """z_0 of anybody. shared float32 [J, m, d]: zbar; words float32 [J, d]: mean slot words; random: seed or None."""

    shared: Tensor
    words: Tensor
    subspace: Subspace
    filler: bool
    random_seed: int | None

    def of(self, language: Language, histories: Histories, views: Ints) -> Tensor:
        """Starts of B histories: [B, J, m, d]. A user without history starts at the shared prompt."""
        B = len(histories)
        J, m, d = self.shared.shape
        if self.random_seed is not None:
            rows = [np.random.default_rng([self.random_seed, 4, int(v)]).uniform(-0.1, 0.1, (J, m, d)) for v in views]
            return torch.from_numpy(np.array(rows, dtype=np.float32).reshape(B, J, m, d))
        start = self.shared.expand(B, -1, -1, -1)
        if not self.filler:
            return start.clone()
        offset = language.slots.slots(histories, language.lm.table.float()) - self.words
        offset[torch.from_numpy(histories.lengths == 0)] = 0.0
        return start + offset[:, :, None]

    def save(self, file: Path) -> None:
        """Write as safetensors, beside and then renamed."""
        seed = -1 if self.random_seed is None else self.random_seed
        tensors = {
            "shared": self.shared,
            "words": self.words,
            "basis": self.subspace.basis.contiguous(),
            "inverse": self.subspace.inverse.contiguous(),
            "flags": torch.tensor([int(self.filler), seed]),
        }
        with beside(file) as partial:
            save_file(tensors, partial)

    @classmethod
    def load(cls, file: Path) -> "PromptInit":
        """Read what `save` wrote."""
        tensors = load_file(file)
        filler, seed = tensors["flags"].tolist()
        return cls(
            tensors["shared"],
            tensors["words"],
            Subspace(tensors["basis"], tensors["inverse"]),
            bool(filler),
            None if seed < 0 else seed,
        )


def fit_prompt_init(language: Language, train: Histories, config: InferConfig, seed: int) -> PromptInit:
    """Collect the train users' slot words, open the subspace, and tune the shared prompt on train histories."""
    lm, prompts, words_of = language
    table = lm.table.float()
    some = np.random.default_rng([seed, 5]).permutation(len(train))[:20_000]
    slots = words_of.slots(train.of(np.sort(some)), table).detach()  # [n, J, d]
    words = slots.mean(dim=0)
    facets, m = len(prompts.facets), prompts.soft_tokens
    if config.rank == 0:
        subspace = Subspace.whole(facets, lm.width, lm.rms)
    else:
        rows = table[torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))[:8192]]
        spoken = [config.start == "filler" and facet.filler != "none" for facet in prompts.facets]
        parts = [
            Subspace.of((slots[:, j] if words_differ else rows)[None], config.rank)
            for j, words_differ in enumerate(spoken)
        ]
        subspace = Subspace.stack(parts)
    shared = words[:, None].expand(-1, m, -1).clone()
    start = PromptInit(shared, words, subspace, config.start == "filler", seed if config.start == "random" else None)
    if config.shared_steps and config.start != "random":
        start = PromptInit(_tune(language, train, start, config, seed), words, subspace, start.filler, None)
    return start


def _tune(language: Language, train: Histories, start: PromptInit, config: InferConfig, seed: int) -> Tensor:
    """Ordinary prompt tuning of zbar: mean loss of random train users around it, Adam."""
    draw = np.random.default_rng([seed, 6])
    users = np.flatnonzero(train.lengths > 0)
    shared = start.shared.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([shared], lr=0.02 * language.lm.rms)
    for turn in track(range(config.shared_steps), label="shared prompt"):
        chosen = draw.choice(users, min(config.shared_users, len(users)), replace=False)
        part = train.of(chosen).sample(config.items_per_step, draw)
        batch = language.prompts.batch(part).every(config.title_stride, turn)
        offset = start.of(language, part, chosen) - start.shared
        items = torch.from_numpy(part.lengths).clamp(min=1).float()
        nll, _ = user_nll(language, batch, shared + offset, batch.weight / items[batch.row])
        (shared.grad,) = torch.autograd.grad(nll.mean(), shared)
        optimiser.step()
    return shared.detach()
