"""How fast soft prompts are inferred: `python -m userip.loadtests.scale.inference`.

Three loops take turns on the same users, so that whatever else the machine does falls on all of them alike:

as configured   `Inference.infer` as a run calls it: start, E steps, the check whether they helped
every token     the same, but every step sees all interactions of a history and scores all of its tokens: what
                the naive loop does, so these two are compared like with like
naive           docs/method.md#speed-of-inference: float32, padded to the longest of a batch of users in random
                order, logits at every position, every token of every interaction, one dense Adam over the rows of all
                users

Useful FLOP of one user-step, forward and backward without gradients of weights:

    4 * B * (prompt tokens + history tokens that the step sees)  +  4 * d * V * (tokens that it scores)

with B the weights in the model's blocks and d * V its output embeddings. Padding, attention, softmax, logits that
nobody scores, Adam, the start and the last check are work, but not counted as useful, for any of the three.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from userip.loadtests.scale.naive_inference import naive_steps
from userip.loadtests.scale.simulated_language import simulated_histories, simulated_language
from userip.training.config import TrainConfig, load_config
from userip.training.crossfit.histories import Histories, Ints
from userip.training.crossfit.views import FULL, ViewKeys
from userip.training.language.frozen import FrozenLM
from userip.training.language.language import Language
from userip.training.language.prompt_builder import PromptBuilder
from userip.training.language.sequences import batches, token_lengths
from userip.training.methods.userip.inference import Inference, open_language
from userip.training.methods.userip.method import own
from userip.training.methods.userip.probe import Choice
from userip.training.methods.userip.prompt_init import fit_prompt_init

PEAK_SIZE = 2048
Floats = NDArray[np.float64]


class Work(NamedTuple):
    """What one turn of a loop amounts to."""

    user_steps: int
    tokens: int
    flop: float


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop that is timed: `turn` does `work`."""

    name: str
    dtype: torch.dtype
    turn: Callable[[], None]
    work: Work


def useful(lm: FrozenLM, reader: PromptBuilder, histories: Histories, stride: int = 1) -> Work:
    """One step of every user of `histories`, scoring every `stride`-th title token: the formula above."""
    blocks = sum(p.numel() for name, p in lm.model.base_model.named_parameters() if p.ndim == 2 and _is_block(name))
    tokens = len(histories) * len(reader.prompt.tokens) + int(token_lengths(histories, reader.texts).sum())
    scored = len(reader.batch(histories).every(stride, 0).target)
    return Work(len(histories), tokens, 4.0 * blocks * tokens + 4.0 * lm.head.numel() * scored)


def _is_block(name: str) -> bool:
    return ".weight" in name and any(part.isdigit() for part in name.split("."))


def benchmark(
    run: Annotated[Path | None, typer.Option(help="A run whose language model and start are taken.")] = None,
    users: Annotated[int, typer.Option(min=8, help="Users in all: rows of the naive loop's Adam.")] = 10_000,
    timed: Annotated[int, typer.Option(min=1, help="About so many users take part in a turn.")] = 64,
    turns: Annotated[int, typer.Option(min=1, help="How often every loop has its turn.")] = 5,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Time the loops in turn, measure the matmul peak beside them, and print the figures."""
    config = load_config(file=None if run is None else run / "config.toml")
    language = simulated_language(config, seed) if run is None else open_language(run, config)
    lm, reader, _ = language
    plain = language._replace(lm=naive_model(lm))
    every = {"items_per_step": config.history.longest, "title_stride": 1}
    histories = simulated_histories(users, len(reader.items), seed)
    print(
        f"{sum(p.numel() for p in lm.model.parameters()):,} parameters, vocabulary {len(lm.table):,}, "
        f"{torch.get_num_threads()} threads; {users:,} users of {histories.lengths.mean():.1f} interactions of "
        f"{reader.texts.length.mean():.1f} tokens, prompt of {len(reader.prompt.tokens)}"
    )
    loops = []
    for name, settings in (("as configured", {}), ("every token", every)):
        changed = replace_infer(config, **settings)
        inference = _inference(changed, language, histories, run, seed)
        groups = _timed_groups(changed, reader, histories, timed)
        loops.append(infer_loop(name, inference, histories, groups))
    loops.append(naive_loop(plain, histories, inference.start.shared, groups, seed))
    peaks: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    seconds: dict[str, list[Floats]] = {loop.name: [] for loop in loops}
    for turn in range(turns + 1):
        for loop in loops:
            took = _took(loop.turn)
            if turn:  # the first turn warms up
                seconds[loop.name].append(took)
        for dtype, rates in peaks.items():  # in every turn: the neighbours of a shared machine take from it too
            rates.append(matmul_rate(dtype, PEAK_SIZE))
    members = sum(map(len, _timed_groups(config, reader, histories, timed)))
    steps = loops[0].work.user_steps // members
    _report(loops, seconds, {dtype: float(np.median(rates)) for dtype, rates in peaks.items()}, steps)


def infer_loop(name: str, inference: Inference, histories: Histories, groups: list[Ints]) -> Loop:
    """`Inference.infer` on the users of `groups`, batch by batch."""
    settings, (lm, reader, _) = inference.settings, inference.language
    done = [
        useful(
            lm,
            reader,
            histories.of(members).pick(settings.items_per_step, inference.seed + step),
            settings.title_stride,
        )
        for members in groups
        for step in range(inference.choice.steps)
    ]
    work = Work(sum(one.user_steps for one in done), sum(one.tokens for one in done), sum(one.flop for one in done))

    def turn() -> None:
        for members in groups:
            inference.infer(histories.of(members), ViewKeys(members, np.full(len(members), FULL, np.int8)))

    return Loop(name, lm.table.dtype, turn, work)


def naive_loop(language: Language, histories: Histories, start: torch.Tensor, groups: list[Ints], seed: int) -> Loop:
    """One pass over the users of `groups` in random order, in batches of 32, from the prompt `start` [J, m, d]."""
    lm, reader, _ = language
    members = np.random.default_rng(seed).permutation(np.concatenate(groups))
    z = start.expand(len(histories), -1, -1, -1).clone().requires_grad_(True)
    optimiser = torch.optim.Adam([z], lr=0.01)
    batched = [members[at : at + 32] for at in range(0, len(members), 32)]

    def turn() -> None:
        naive_steps(lm, reader, histories, z, optimiser, batched)

    return Loop("naive", torch.float32, turn, useful(lm, reader, histories.of(members)))


def matmul_rate(dtype: torch.dtype, size: int) -> float:
    """FLOP/s of a square matrix product, the best of five."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return 2.0 * size**3 / float(min(_took(lambda: torch.mm(a, b))[0] for _ in range(5)))


def replace_infer(config: TrainConfig, **settings: int) -> TrainConfig:
    """The same configuration with other settings of `infer`."""
    return config.model_copy(update={"infer": own(config).model_copy(update=settings)})


def _inference(
    config: TrainConfig,
    language: Language,
    histories: Histories,
    run: Path | None,
    seed: int,
) -> Inference:
    if run is not None:
        opened = Inference.open(run, run / "infer", config, seed)
        start, choice = opened.start, opened.choice
    else:
        untuned = own(replace_infer(config, shared_steps=0))
        start = fit_prompt_init(language, histories, untuned, seed)
        choice = Choice(own(config).steps, own(config).priors[0], {})
    # At least one step: there has to be something to time.
    choice = choice._replace(steps=max(choice.steps, 1))
    return Inference(start, choice, own(config), seed, lambda: language)


def _timed_groups(config: TrainConfig, reader: PromptBuilder, histories: Histories, timed: int) -> list[Ints]:
    """Every n-th of the batches that a run would make, so that they hold about `timed` users of all lengths."""
    cap = int(own(config).items_per_step * float(reader.texts.length.mean()))
    lengths = np.minimum(token_lengths(histories, reader.texts), cap)
    groups = batches(lengths, len(reader.prompt.tokens), own(config).batch_tokens)
    count = max(round(len(groups) * timed / len(histories)), 1)
    return [groups[int((k + 0.5) * len(groups) / count)] for k in range(count)]


def naive_model(lm: FrozenLM) -> FrozenLM:
    """The same model in float32, with the attention that transformers takes by itself: there it is the faster one."""
    model = copy.deepcopy(lm.model).to(torch.float32)  # type: ignore[arg-type]  # transformers wraps it untyped
    model.set_attn_implementation("sdpa")
    return FrozenLM.of(model, lm.tokenizer)


def _took(work: Callable[[], object]) -> Floats:
    """Seconds that `work` takes: by the clock, and of the processor (all threads together); float64 [2]."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - clock, time.process_time() - processor])


def _report(loops: list[Loop], seconds: dict[str, list[Floats]], peaks: dict[torch.dtype, float], steps: int) -> None:
    """`steps`: user-steps that a user's profile takes."""
    for dtype, peak in peaks.items():
        print(f"matmul peak, {str(dtype).removeprefix('torch.'):9s} {peak / 1e9:7.1f} GFLOP/s")
    for loop in loops:
        each = float(np.median([took[0] for took in seconds[loop.name]]))
        rate = loop.work.flop / each
        print(
            f"{loop.name:14s} {loop.work.user_steps / each:7.1f} user-steps/s "
            f"{loop.work.user_steps / each / steps:6.1f} users/s "
            f"{loop.work.tokens / each:8,.0f} tokens/s {rate / 1e9:7.1f} useful GFLOP/s, "
            f"{rate / peaks[loop.dtype]:.0%} of the peak"
        )
    naive = loops[-1]
    for loop in loops[:-1]:
        # [turns, 2]: a busy neighbour stretches the clock of one turn, but hardly the processor time.
        slower = np.stack(seconds[naive.name]) / np.stack(seconds[loop.name])
        for what, more in (
            ("useful FLOP/s", loop.work.flop / naive.work.flop),
            ("user-steps/s", loop.work.user_steps / naive.work.user_steps),
        ):
            times = slower * more
            (clock, processor), low, high = np.median(times, axis=0), times.min(axis=0), times.max(axis=0)
            print(
                f"{loop.name} against naive, {what}: {clock:.2f} times ({low[0]:.2f} to {high[0]:.2f} in "
                f"{len(times)} turns); by processor time {processor:.2f} ({low[1]:.2f} to {high[1]:.2f})"
            )


if __name__ == "__main__":
    typer.run(benchmark)
