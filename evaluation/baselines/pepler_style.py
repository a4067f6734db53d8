"""PEPLER-style: user and item as a two-vector prompt that makes a language model say the item's text.

See docs/method.md#other-baselines. PEPLER (Li, Zhang and Chen, 2023) puts the two vectors before the explanation of a
rating. Of a click it says nothing; here the click is  sigma(<u, i> + b_u + b_i + b), the text is the item's title and
attributes, and

    loss = BCE(click) + text_weight * NLL(text) / tokens

Stage 1 tunes the prompts under the frozen model, stage 2 both together at a lower rate. Either ends when the
validation AUC no longer grows; the best weights of all stay. The text is read of a sample of every batch. At
serving the language model is not needed: it has shaped the vectors. A user or item that training has not met is
the mean of those that it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from userip.evaluation.baselines.tuned_lm import TunedLM, seeded
from userip.models.prompt.soft_prompt import Prompt
from userip.models.prompt.token_loss import token_loss
from userip.models.recommenders.prompt_pair import PromptPair
from userip.training.config import TrainConfig
from userip.training.crossfit.histories import Histories, catalogue_rows
from userip.training.data.dataset import Dataset
from userip.training.language.item_texts import ItemTexts
from userip.training.language.sequences import build_batch, put_in_slots
from userip.training.recommender.encoder import rows_of_values
from userip.training.recommender.fit import BestWeights, Epoch, labelled_rows, predict_rows
from userip.training.recommender.metrics import auc
from userip.training.threads import one_thread

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class PeplerConfig(BaseModel):
    """How the PEPLER-style baseline is fitted. Frozen; an unknown key is refused.

    text_weight   weight of the text's nats per token against the click's nats.
    text_rows     rows of every batch whose text is read: the language model is what a fit spends its time on.
    text_stride   one in so many tokens of these texts is supervised, others at each step.
    reach         prompts start uniform in +-reach, as PEPLER's do.
    weight_decay  on prompts and biases, as L2 in the gradient.
    prompt_epochs, tuned_epochs   at most so many of stage 1 (prompts alone) and stage 2 (language model too).
    tuned_lr      of prompts and language model alike in stage 2.
    patience      epochs of a stage without a better validation AUC after which it ends.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_weight: Annotated[float, Field(ge=0.0)] = 0.3
    text_rows: Count = 32
    text_stride: Count = 4
    reach: Rate = 0.1
    dropout: Share = 0.5
    lr: Rate = 1e-2
    weight_decay: Annotated[float, Field(ge=0.0)] = 3e-5
    batch: Count = 2048
    prompt_epochs: Count = 30
    tuned_epochs: Annotated[int, Field(ge=0)] = 5
    tuned_lr: Rate = 3e-4
    patience: Count = 3


@dataclass(frozen=True, eq=False)
class PeplerStyle:
    """The fitted prompts. `users`, `items`: ids in the order of rows 1, 2, ..; `log`: the epochs of both stages."""

    network: PromptPair
    users: tuple[str, ...]
    items: tuple[str, ...]
    settings: PeplerConfig
    log: tuple[Epoch, ...]

    def predict(self, interactions: pl.DataFrame) -> NDArray[np.float32]:
        """Click probabilities float32 [n] of interactions (`user_id, item_id`), in their order."""
        with one_thread():
            return predict_rows(self.network, id_rows(interactions, self.users, self.items))


def id_rows(interactions: pl.DataFrame, users: Sequence[str], items: Sequence[str]) -> Tensor:
    """Rows int64 [n, 2] of interactions: place among `users` and `items` from 1 on, 0 for who is not there."""
    columns = (rows_of_values(interactions["user_id"], users), rows_of_values(interactions["item_id"], items))
    return torch.from_numpy(np.stack(columns, axis=1))


def fit_pepler_style(
    dataset: Dataset,
    run: Path,
    config: TrainConfig,
    seed: int,
    *,
    settings: PeplerConfig | None = None,
) -> PeplerStyle:
    """Fit on the train rows, stop on the valid rows, with the language model of RUN/language.

    The same arguments give the same bytes. Nothing is written, no test row is read. Raises DataError or
    SplitMismatchError for a run that does not suit, EmptyDataError when no AUC can be taken.
    """
    settings = settings or PeplerConfig()
    train, valid = labelled_rows(dataset, "train"), labelled_rows(dataset, "valid")
    model = TunedLM.open(dataset, run, config)
    users = tuple(train["user_id"].unique().sort())
    items = tuple(train["item_id"].unique().sort())
    with seeded(seed):
        network = PromptPair(len(users) + 1, len(items) + 1, model.lm.width, settings.reach, settings.dropout)
        text_loss = TextLoss(model, train, settings)
        fitting = _Fitting(
            network, text_loss, settings, seed,
            (id_rows(train, users, items), torch.tensor(train["label"].to_numpy(), dtype=torch.float32)),
            (id_rows(valid, users, items), valid["label"].to_numpy()),
        )  # fmt: skip
        log = fitting.stages()
    return PeplerStyle(network, users, items, settings, log)


class TextLoss:
    """Nats per token of the items' texts behind their prompts:  [BOS] u i text."""

    def __init__(self, model: TunedLM, train: pl.DataFrame, settings: PeplerConfig) -> None:
        self.model, self.lm = model, model.lm
        self.stride = settings.text_stride
        self.texts: ItemTexts = model.item_texts(model.reader.history.item_tokens)
        unknown = len(model.reader.items)
        rows = catalogue_rows(model.reader.items, train["item_id"]).fill_null(unknown)
        self.item = rows.to_numpy().astype(np.int64)
        # One closed block holds both vectors: the item's sees the user's, and the text sees both.
        self.prompt = Prompt(torch.tensor([self.lm.bos, 0, 0]), torch.tensor([0, 1, 1]), torch.tensor([[1], [2]]))

    def __call__(self, prompts: Tensor, rows: NDArray[np.int64], turn: int) -> Tensor:
        """Mean nats per token, float32 [], of train `rows` [B] under prompts [B, 2, d]."""
        one_each = Histories(np.arange(len(rows) + 1), self.item[rows], np.zeros(len(rows), dtype=np.bool_))
        batch = build_batch(self.prompt, self.texts, one_each, factorised=True).every(self.stride, turn)
        with self.model.reduced():
            words = put_in_slots(self.lm.embed(batch.tokens), self.prompt, prompts[:, :, None])
            states = self.lm.hidden(words, batch.mask(words.dtype), batch.position).flatten(0, 1)[batch.source]
        states, head = states.to(self.model.dtype), self.lm.head.to(self.model.dtype)
        loss = token_loss(states, head, batch.target, batch.weight, bias=self.lm.head_bias).loss
        return loss / batch.weight.sum().clamp(min=1.0)


class _Fitting:
    """The two stages and what they share."""

    def __init__(
        self,
        network: PromptPair,
        text_loss: TextLoss,
        settings: PeplerConfig,
        seed: int,
        train: tuple[Tensor, Tensor],
        valid: tuple[Tensor, NDArray[np.bool_]],
    ) -> None:
        self.network, self.text_loss, self.settings = network, text_loss, settings
        self.train, self.valid = train, valid
        self.draw = np.random.default_rng([seed, 7])
        self.turn, self.best = 0, BestWeights(network)

    def stages(self) -> tuple[Epoch, ...]:
        """Run both, and leave the network with its best weights."""
        settings, lm = self.settings, self.text_loss.lm.model
        prompts: dict[str, Any] = {"params": self.network.parameters(), "weight_decay": settings.weight_decay}
        optimiser = torch.optim.Adam([prompts], settings.lr, fused=True)
        self._stage(optimiser, settings.prompt_epochs)
        if settings.tuned_epochs:
            self.best.again()
            lm.requires_grad_(True)
            prompts = {"params": self.network.parameters(), "weight_decay": settings.weight_decay}
            optimiser = torch.optim.Adam([prompts, {"params": lm.parameters()}], settings.tuned_lr, fused=True)
            self._stage(optimiser, settings.tuned_epochs)
        self.best.again()
        self.network.eval()
        return tuple(self.best.log)

    def _stage(self, optimiser: torch.optim.Optimizer, epochs: int) -> None:
        for _ in range(epochs):
            loss = self._epoch(optimiser)
            self.network.settle_unknown()
            score = auc(self.valid[1], predict_rows(self.network, self.valid[0]))
            if self.best.over(loss, score, self.settings.patience):
                break

    def _epoch(self, optimiser: torch.optim.Optimizer) -> float:
        """One pass over the train rows; the mean loss."""
        settings, losses = self.settings, []
        self.network.train()
        order = self.draw.permutation(len(self.train[0]))
        for start in range(0, len(order), settings.batch):
            members = order[start : start + settings.batch]
            taken = torch.from_numpy(members)
            optimiser.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(
                self.network(self.train[0][taken]), self.train[1][taken]
            )
            if settings.text_weight:
                read = members[: settings.text_rows]  # the order is random already
                prompts = self.network.prompts(self.train[0][taken[: len(read)]])
                loss = loss + settings.text_weight * self.text_loss(prompts, read, self.turn)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            self.turn += 1
            losses.append(float(loss.detach()))
        return float(np.mean(losses))
