"""How far to infer: E steps and prior strength, chosen on held-out interactions of train users.

The E step over-fits a short history. So some train users' histories are parted 70:30; z is inferred from the one
part, the other part judges. The same users then say what a profile is worth: their own z against the shared
prompt and against another user's z.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from userip.training.crossfit.histories import Histories
from userip.training.language.language import Language
from userip.training.language.pretrain import Nats
from userip.training.language.sequences import batches, token_lengths
from userip.training.language.step import held_out
from userip.training.methods.userip.config import InferConfig
from userip.training.methods.userip.e_step import Objective, e_step
from userip.training.methods.userip.prompt_init import PromptInit
from userip.training.progress import track

ROUND = 2  # steps between two looks at the held-out part
JUDGED = 32  # held-out interactions of one user, at most


class Choice(NamedTuple):
    """steps and prior to use, and the figures of the probe (nats per held-out item)."""

    steps: int
    prior: float
    figures: dict[str, Any]


def select_e_steps(language: Language, train: Histories, start: PromptInit, config: InferConfig, seed: int) -> Choice:
    """Try every prior for up to `config.steps` steps. At least one round of steps is taken."""
    draw = np.random.default_rng([seed, 7])
    able = np.flatnonzero(train.lengths >= 4)
    users = train.of(np.sort(draw.permutation(able)[: config.probe_users]))
    if not config.probe_users or not len(users) or not config.steps:
        return Choice(config.steps, config.priors[0], {})
    ranks = users.ranks(draw)
    known_part = ranks < np.maximum(users.lengths * 7 // 10, 1)[users.owner]
    known, target = users.keep(known_part), users.keep(~known_part).pick(JUDGED, seed)
    prompts = language.prompts
    history = prompts.history

    def judge(z: Tensor) -> tuple[float, Nats]:
        nats = held_out(language, target, z)
        tokens = max(float(prompts.texts.length.mean()) - 1, 1)
        weighted = history.title_weight * nats.title + history.polarity_weight * nats.polarity
        return weighted / tokens, nats

    begin = start.of(language, known, np.arange(len(known)))
    curve: dict[str, Any] = {"0 steps": asdict(judge(begin)[1])}
    tried: list[tuple[float, int, float, Tensor]] = []
    for prior, steps, z in _e_steps(language, known, begin, start, config, seed):
        score, nats = judge(z)
        curve[f"{steps} steps, prior {prior:g}"] = asdict(nats)
        tried.append((score, steps, prior, z))
    _, steps, prior, best = min(tried, key=lambda entry: entry[:2])
    judged = {
        "own z": best,
        "own z before the E steps": begin,
        "shared prompt": start.shared.expand_as(best),
        "another user's z": best[torch.from_numpy(np.roll(np.arange(len(known)), 1))],
    }
    figures: dict[str, Any] = {"users": len(users), "held_out_items": len(target.items)}
    figures |= {name: asdict(judge(z)[1]) for name, z in judged.items()}
    return Choice(steps, prior, figures | {"steps": steps, "prior": prior, "curve": curve})


def _e_steps(
    language: Language, known: Histories, begin: Tensor, start: PromptInit, config: InferConfig, seed: int
) -> Iterator[tuple[float, int, Tensor]]:
    """(prior, steps, z [n, J, m, d]): where every prior has led after each further round of steps."""
    prompts = language.prompts
    lengths = token_lengths(known.last(config.items_per_step), prompts.texts)
    groups = batches(lengths, len(prompts.prompt.tokens), config.batch_tokens)
    looks = range(ROUND, config.steps + 1, ROUND) or range(config.steps, config.steps + 1)
    z = begin
    for prior, steps in track([(prior, steps) for prior in config.priors for steps in looks], label="probe"):
        if steps == looks[0]:
            z = begin.clone()
        moved = z.clone()
        for members in groups:
            moved[members] = e_step(
                language, known.of(members), z[members], begin[members], start.subspace, Objective(prior=prior),
                steps=looks[0] if steps == looks[0] else ROUND, lr=config.lr, items_per_step=config.items_per_step,
                title_stride=config.title_stride, seed=seed + 1000 * steps,
            )  # fmt: skip
        z = moved
        yield prior, steps, z
