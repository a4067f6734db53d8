"""Fit item vectors: how strongly and for how many steps is chosen on train users who are held out of that."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from userip.training.judging.events import Events, group_of
from userip.training.methods.taste.config import TasteConfig
from userip.training.methods.taste.vectors import Tensors, Vectors
from userip.training.progress import track

HELD_OUT = 0  # the group of users on whom settings are chosen
EVERY = 5  # steps between two looks at them
PATIENCE = 4  # looks without a lower loss

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """What was chosen: precisions, steps (0: no taste is better than any), and the held-out loss in nats."""

    strengths: tuple[float, float]
    steps: int
    loss: float


def fit_vectors(
    events: Events, level: Floats, attributes: Tensor, config: TasteConfig, seed: int
) -> tuple[Vectors, Choice, float]:
    """Vectors fitted to all events, what was chosen for them, and the held-out loss of levels alone.

    level float64 [n]: logits of the events without taste.
    """
    held = group_of(events.users) == HELD_OUT
    inside, outside = events.only(~held), events.only(held)
    mark = held[events.owner]
    nobody = _loss(torch.from_numpy(level[mark]).float(), Tensors.of(outside).liked)
    best = Choice(config.strengths[0], 0, nobody)
    for strengths in config.strengths:
        found = _choose(inside, level[~mark], outside, level[mark], attributes, strengths, config, seed)
        best = min(best, found, key=lambda choice: choice.loss)
    vectors = _new(attributes, config, seed)
    steps = _steps(vectors, Tensors.of(events), level, best.strengths, config, seed)
    for _ in track(range(best.steps), label="item vectors", total=max(best.steps, 1)):
        next(steps)
    if not best.steps:
        with torch.no_grad():
            vectors.of_attributes.zero_()
            vectors.of_items.zero_()
    return vectors, best, nobody


def _choose(
    inside: Events, level: Floats, outside: Events, level_outside: Floats, attributes: Tensor,
    strengths: tuple[float, float], config: TasteConfig, seed: int,
) -> Choice:  # fmt: skip
    """The number of steps with the lowest loss on events of users `outside`."""
    vectors, judged = _new(attributes, config, seed), Tensors.of(outside)
    base, all_kept = torch.from_numpy(level_outside).float(), torch.ones(len(judged.liked))
    best, since = Choice(strengths, 0, float("inf")), 0
    for step, _ in enumerate(_steps(vectors, Tensors.of(inside), level, strengths, config, seed), start=1):
        if step % EVERY == 0:
            with torch.no_grad():
                loss = _loss(base + vectors.left_out(judged, all_kept), judged.liked)
            since += 1
            if loss < best.loss:
                best, since = Choice(strengths, step, loss), 0
        if step >= config.steps or since >= PATIENCE:
            break
    return best


def _steps(
    vectors: Vectors, events: Tensors, level: Floats, strengths: tuple[float, float], config: TasteConfig, seed: int
) -> Iterator[None]:
    """Step after step of Adam over all events."""
    base = torch.from_numpy(level).float()
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(vectors.parameters(), lr=config.lr)
    while True:
        kept = (torch.rand(len(base), generator=draw) >= config.dropout).float()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            base + vectors.left_out(events, kept), events.liked, reduction="sum"
        )
        optimiser.zero_grad()
        (loss + vectors.penalty(strengths)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        yield


def _new(attributes: Tensor, config: TasteConfig, seed: int) -> Vectors:
    torch.manual_seed(seed)
    return Vectors(attributes, config.dimensions)


def _loss(logits: Tensor, liked: Tensor) -> float:
    if not len(liked):
        return float("inf")
    return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, liked))
