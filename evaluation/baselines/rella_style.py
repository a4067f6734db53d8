"""ReLLa-style: a language model reads a user's most similar past items and predicts liked or disliked.

See docs/method.md#other-baselines. ReLLa (Lin et al., 2024) retrieves the past items that are semantically nearest to
the target, writes them with their ratings into the prompt, and tunes a large language model to answer yes or no. Here
the model is the run's own small one and all its weights are tuned (ReLLa's low-rank adapters spare what a model of
this size does not need):

    p(click) = softmax over (" liked", " disliked") of the logits behind  "past: liked  past: disliked .. target:"

There is no user id: every user with a history is served in full, held-out users from their history rows. Train rows
retrieve from other folds of their user's train rows only, so that no row finds its own label.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from userip.evaluation.baselines.liking_prompts import LikingBatch, LikingPrompts
from userip.evaluation.baselines.retrieval import Floats, Interactions, causal_mask, item_vectors, most_similar
from userip.evaluation.baselines.tuned_lm import TunedLM, seeded
from userip.training.config import TrainConfig
from userip.training.crossfit.folds import fold_of_rows
from userip.training.crossfit.histories import Ints
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError
from userip.training.language.sequences import batches
from userip.training.recommender.fit import BestWeights, Epoch, labelled_rows
from userip.training.recommender.metrics import auc
from userip.training.threads import one_thread

Count = Annotated[int, Field(ge=1)]
READ_TOKENS: Final = 16_000  # padded tokens of a batch that is only read
ALIKE: Final = 16


class RellaConfig(BaseModel):
    """How the ReLLa-style baseline is fitted. Frozen; an unknown key is refused.

    past_items     K, how many past items a prompt holds.
    past_tokens, target_tokens   an item's text is cut there, among the past ones and as the one at hand.
    components     principal components of the item vectors that likeness is measured in.
    folds          a train row finds no rows of its own fold, of so many per user.
    train_rows     rows that one epoch draws, at most; valid_rows: of the validation rows that choose the best weights.
    checks         how often the validation rows are asked in the whole fit; the best weights stay.
    patience       checks without a better validation AUC after which fitting ends.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    past_items: Count = 8
    past_tokens: Count = 8
    target_tokens: Count = 16
    components: Count = 64
    folds: Annotated[int, Field(ge=2, le=127)] = 5
    train_rows: Count = 30_000
    valid_rows: Count = 3_000
    epochs: Count = 1
    checks: Count = 6
    patience: Count = 3
    batch: Count = 64
    lr: Annotated[float, Field(gt=0.0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01


@dataclass(frozen=True, eq=False)
class RellaStyle:
    """The tuned model with what its prompts are made of. `log`: loss and validation AUC of every check."""

    model: TunedLM
    prompts: LikingPrompts
    vectors: Floats
    past: Interactions
    users: pl.Series
    settings: RellaConfig
    seed: int
    log: tuple[Epoch, ...] = ()

    def predict(self, interactions: pl.DataFrame) -> NDArray[np.float32]:
        """Click probabilities float32 [n] of interactions (`user_id, item_id`), in their order.

        Prompts hold the user's train and history rows; never a row of the item that is asked for.
        """
        return self.probabilities(self.read(interactions, labelled=False))

    def read(self, rows: pl.DataFrame, *, labelled: bool) -> Interactions:
        """Rows as arrays; without `labelled` no label is looked at."""
        return Interactions.of(rows, self.users, self.model.reader.items, labelled=labelled)

    def found(self, targets: Interactions) -> Ints:
        """The past rows that every target's prompt holds: int64 [n, K]."""
        return most_similar(targets, self.past, self.vectors, self.settings.past_items)

    def probabilities(self, targets: Interactions) -> NDArray[np.float32]:
        """Probabilities float32 [n]; prompts of like length are read together."""
        found = self.found(targets)
        result = np.empty(len(targets), dtype=np.float32)
        groups = batches(self.prompts.lengths(targets.item, self.past, found), 0, READ_TOKENS)
        with one_thread(), torch.no_grad():
            for rows in groups:
                batch = self.prompts.batch(targets.item[rows], self.past, found[rows])
                result[rows] = torch.sigmoid(self.logits(batch)).numpy()
        return result

    def logits(self, batch: LikingBatch) -> Tensor:
        """log p(" liked") - log p(" disliked") behind every prompt: float32 [B]. Gradient reaches all weights."""
        lm, yes, no = self.model.lm, self.prompts.liked, self.prompts.disliked
        with self.model.reduced():
            words = lm.embed(batch.tokens)
            B, L, _ = words.shape
            states = lm.hidden(words, causal_mask(L, words.dtype), torch.arange(L)[None])
        # Two logits a row: full precision costs nothing here.
        logits = states[torch.arange(B), batch.last].float() @ (lm.head[yes] - lm.head[no])
        return logits if lm.head_bias is None else logits + (lm.head_bias[yes] - lm.head_bias[no])


def fit_rella_style(
    dataset: Dataset,
    run: Path,
    config: TrainConfig,
    seed: int,
    *,
    settings: RellaConfig | None = None,
) -> RellaStyle:
    """Tune a copy of RUN/language on a sample of the train rows; a sample of the valid rows chooses the weights.

    The same arguments give the same bytes. Nothing is written, no test row is read. Raises DataError or
    SplitMismatchError for a run that does not suit, EmptyDataError when no AUC can be taken, and ConfigError for
    prompts that the model has no positions for.
    """
    settings = settings or RellaConfig()
    train, valid = labelled_rows(dataset, "train"), labelled_rows(dataset, "valid")
    model = TunedLM.open(dataset, run, config)
    with seeded(seed):
        fitted = _prepare(dataset, model, settings, seed)
        folds = fold_of_rows(train, settings.folds, seed).cast(pl.Int64).to_numpy()
        targets = replace(fitted.read(train, labelled=True), fold=folds)
        draw = np.random.default_rng([seed, 8])
        few = np.sort(draw.permutation(valid.height)[: settings.valid_rows])
        log = _tune(fitted, targets, fitted.read(valid, labelled=True).take(few), draw)
    return replace(fitted, log=log)


def _prepare(dataset: Dataset, model: TunedLM, settings: RellaConfig, seed: int) -> RellaStyle:
    """Everything but the tuning. The past of train users has folds, that of held-out users has none."""
    prompts = LikingPrompts.of(model, settings.past_tokens, settings.target_tokens)
    needed, there = prompts.longest(settings.past_items), model.lm.longest
    if needed > there:
        raise ConfigError(
            f"past_items={settings.past_items}: the ReLLa-style prompt needs up to {needed} positions, the language "
            f"model has {there}; lower it, or past_tokens"
        )
    rows = dataset.rows("train", "history")
    users = rows["user_id"].unique().sort()
    past = Interactions.of(rows, users, model.reader.items, labelled=True)
    # The folds are dealt among train rows alone, so that a past row and the train row it is agree on theirs.
    is_train = (rows["split"] == "train").to_numpy()
    past.fold[is_train] = fold_of_rows(dataset.rows("train"), settings.folds, seed).cast(pl.Int64).to_numpy()
    vectors = item_vectors(model, settings.target_tokens, settings.components)
    return RellaStyle(model, prompts, vectors, past, users, settings, seed)


def _tune(fitted: RellaStyle, train: Interactions, valid: Interactions, draw: np.random.Generator) -> tuple[Epoch, ...]:
    """Tune all weights in place and leave them at their best; no dropout, as the model came."""
    settings, module = fitted.settings, fitted.model.lm.model
    module.requires_grad_(True)
    optimiser = torch.optim.AdamW(module.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)
    steps = settings.epochs * -(-min(settings.train_rows, len(train)) // settings.batch)
    checks = {round(steps * (k + 1) / settings.checks) for k in range(settings.checks)}
    best, losses = BestWeights(module), list[float]()
    for step, (rows, found) in enumerate(_minibatches(fitted, train, draw), start=1):
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * _schedule(step, steps)
        part = train.take(rows)
        batch = fitted.prompts.batch(part.item, fitted.past, found)
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(
            fitted.logits(batch), torch.from_numpy(part.liked.astype(np.float32))
        )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if step not in checks:
            continue
        if best.over(float(np.mean(losses)), auc(valid.liked, fitted.probabilities(valid)), settings.patience):
            break
        losses.clear()
    best.again()
    module.requires_grad_(False)
    return tuple(best.log)


def _minibatches(fitted: RellaStyle, train: Interactions, draw: np.random.Generator) -> Iterator[tuple[Ints, Ints]]:
    """Train rows [b] in batches with what their prompts hold [b, K]; every epoch draws another sample.

    Of each `ALIKE` batches' worth of rows those of like length stand together: less padding, the same rows.
    """
    settings = fitted.settings
    for _ in range(settings.epochs):
        order = draw.permutation(len(train))[: settings.train_rows]
        found = fitted.found(train.take(order))
        length = fitted.prompts.lengths(train.item[order], fitted.past, found)
        for start in range(0, len(order), ALIKE * settings.batch):
            some = np.arange(start, min(start + ALIKE * settings.batch, len(order)))
            some = some[np.argsort(length[some], kind="stable")]
            pieces = np.split(some, range(settings.batch, len(some), settings.batch))
            for which in draw.permutation(len(pieces)):
                yield order[pieces[which]], found[pieces[which]]


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over the first 5 %, cosine to a twentieth afterwards."""
    warm = max(steps // 20, 1)
    return min(step / warm, 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))
