"""The infer step: RUN/infer holds z of every user and of every user without each fold (docs/method.md#em, S1 and S2).

start.safetensors  the shared prompt and the subspace      choice.json  steps, prior and what they were chosen on
views.parquet      user_id, fold: one line per row of z.npy, float32 [V, J, m, d]
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import Tensor

from userip.files import write_text
from userip.training.config import TrainConfig
from userip.training.crossfit.histories import Histories, Ints
from userip.training.crossfit.views import CrossFitViews
from userip.training.data.dataset import Dataset
from userip.training.language.frozen import FrozenLM
from userip.training.language.prompt_builder import PromptBuilder
from userip.training.language.sequences import batches
from userip.training.language.slot_initializer import SlotInitializer
from userip.training.language.step import load_language
from userip.training.methods.table import ProfileTable
from userip.training.methods.userip.inference import Inference
from userip.training.methods.userip.probe import Choice, select_e_steps
from userip.training.methods.userip.prompt_init import PromptInit, fit_prompt_init
from userip.training.progress import track

# What happens to a batch: (views, their histories) -> z
BatchWork = Callable[[Ints, Histories], Tensor]


def run_infer(dataset: Dataset, run: Path, out: Path, config: TrainConfig, seed: int) -> dict[str, Any]:
    """Infer every view's soft prompts. Batches that an interrupted run has finished are kept."""
    lm, reader, fillers = open_language(run, config)
    views = CrossFitViews.of(dataset, config.infer.folds, seed, config.history.longest)
    train = views.histories.of(views.full)
    start = _start(lm, reader, fillers, train, config, seed, out / "start.safetensors")
    choice = _choice(lm, reader, fillers, train, start, config, seed, out / "choice.json")
    groups = group(views, reader, config)
    table = ProfileTable(out, "z", shape_of(views, start), len(groups))
    inference = Inference(lm, reader, fillers, start, choice, config, ())

    def work(members: Ints, histories: Histories) -> Tensor:
        return inference.infer(histories, members, seed)

    fill(table, groups, views, work, "profiles")
    write_views(views, out)
    return {"views": len(views), "users": len(views.users), "probe": choice.figures}


def open_language(run: Path, config: TrainConfig) -> tuple[FrozenLM, PromptBuilder, SlotInitializer]:
    """RUN/language, with this run's number of soft tokens."""
    lm, reader, fillers = load_language(run / "language", config.language.path, config.language.dtype)
    return lm, replace(reader, soft_tokens=config.infer.soft_tokens), fillers


def open_start(run: Path) -> tuple[PromptInit, Choice]:
    """What RUN/infer chose: where profiles start, how many steps they take, how strong the prior is."""
    choice = json.loads((run / "infer" / "choice.json").read_bytes())
    return PromptInit.load(run / "infer" / "start.safetensors"), Choice(**choice)


def group(views: CrossFitViews, reader: PromptBuilder, config: TrainConfig) -> list[Ints]:
    """Batches of views of like length. A long history counts as what one step samples of it."""
    lengths = views.token_lengths(reader.texts)
    cap = config.infer.items_per_step * float(reader.texts.length.mean())
    return batches(np.minimum(lengths, int(cap)), len(reader.prompt.tokens), config.infer.batch_tokens)


def shape_of(views: CrossFitViews, start: PromptInit) -> tuple[int, int, int, int]:
    """Shape of the table of z: [V, J, m, d]."""
    J, m, d = start.shared.shape
    return len(views), J, m, d


def fill(table: ProfileTable, groups: list[Ints], views: CrossFitViews, work: BatchWork, label: str) -> None:
    """Run `work` on every batch that is not in the table yet."""
    pending = table.pending()
    for number in track(pending, label=label, total=len(groups), done=len(groups) - len(pending)):
        members = groups[number]
        table.write(number, members, work(members, views.of_views(members)))


def write_views(views: CrossFitViews, out: Path) -> None:
    """Who is who in the table of z."""
    users = pl.Series("user_id", views.users, dtype=pl.String).gather(views.user)
    pl.DataFrame({"user_id": users, "fold": views.without}).write_parquet(out / "views.parquet")


def _start(
    lm: FrozenLM,
    reader: PromptBuilder,
    fillers: SlotInitializer,
    train: Histories,
    config: TrainConfig,
    seed: int,
    file: Path,
) -> PromptInit:
    if not file.is_file():
        fit_prompt_init(lm, reader, fillers, train, config.infer, seed).save(file)
    return PromptInit.load(file)


def _choice(
    lm: FrozenLM,
    reader: PromptBuilder,
    fillers: SlotInitializer,
    train: Histories,
    start: PromptInit,
    config: TrainConfig,
    seed: int,
    file: Path,
) -> Choice:
    if not file.is_file():
        made = select_e_steps(lm, reader, fillers, train, start, config.infer, seed)
        write_text(file, json.dumps(made._asdict(), indent=1))
    return Choice(**json.loads(file.read_bytes()))
