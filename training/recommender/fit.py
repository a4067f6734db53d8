"""Fit a recommender: the one training loop of all networks (docs/method.md#recommender).

Everything is a tensor before the first step: rows int64 [n, F], labels float32 [n]. An epoch is one
permutation cut into batches. Fitting ends when the validation AUC has not grown for `patience` epochs; the
best weights stay.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from userip.models.recommenders import RECOMMENDERS
from userip.models.recommenders.layers import Network, NetworkShape
from userip.models.recommenders.paths import PathNetwork, Paths, build
from userip.training.crossfit.folds import fold_of_rows
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError, EmptyDataError
from userip.training.progress import track
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.encoder import FieldEncoder, with_item_fields
from userip.training.recommender.metrics import auc, evaluate
from userip.training.recommender.paths import calibrate, path_groups, paths_of, set_starts, settle_unmet
from userip.training.threads import one_thread

PREDICT_BATCH: Final = 65_536


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of the log: mean training loss in nats, validation AUC, seconds since the start."""

    loss: float
    auc: float
    seconds: float


class BestWeights:
    """The log of a fit, and the weights of its best validation AUC; of equals the first."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._begin = model, time.perf_counter()
        self._weights: dict[str, Tensor] = {}
        self._best, self._since = -np.inf, 0
        self.log: list[Epoch] = []

    def over(self, loss: float, score: float, patience: int) -> bool:
        """Note an epoch. True when so many have passed without a better AUC."""
        self.log.append(Epoch(loss, score, time.perf_counter() - self._begin))
        self._since += 1
        if not self._weights or score > self._best:
            self._best, self._since = score, 0
            self._weights = {name: value.clone() for name, value in self._model.state_dict().items()}
        return self._since >= patience

    def again(self) -> None:
        """Go back to the best weights, and be patient anew."""
        self._model.load_state_dict(self._weights)
        self._since = 0


@dataclass(frozen=True)
class FittedRecommender:
    """A recommender as it is served: network, fields, and the codes it was fitted with (controls applied)."""

    model: nn.Module
    encoder: FieldEncoder
    codes: CodeTable | None
    config: RecommenderConfig
    dataset: Dataset
    seed: int
    log: tuple[Epoch, ...]

    def rows(self, interactions: pl.DataFrame) -> NDArray[np.int64]:
        """Rows int64 [n, F] of interactions, with every user's code from the whole history (fold -1)."""
        return encode_rows(interactions, self.dataset, self.encoder, self.codes)

    def predict(self, interactions: pl.DataFrame) -> NDArray[np.float32]:
        """Click probabilities float32 [n] of interactions, in their order."""
        with one_thread():
            return predict_rows(self.model, torch.from_numpy(self.rows(interactions)))

    def evaluate(self, interactions: pl.DataFrame) -> dict[str, float]:
        """AUC, logloss, GAUC and ECE on labelled interactions."""
        return evaluate(interactions["user_id"], interactions["label"], self.predict(interactions))


def fit_recommender(
    dataset: Dataset,
    codes: CodeTable | None,
    config: RecommenderConfig,
    seed: int,
    *,
    network: Network | None = None,
    label: str | None = None,
) -> FittedRecommender:
    """Fit on the train rows, stop on the valid rows. The same arguments give the same weights, bit for bit.

    `codes` are those of the quantize step; `config.codes` says whether they, a control of their shape, or
    none become fields. `network` takes the place of `config.recommender`'s. Progress is shown under `label`, if given.
    Nothing is written, no test row is read.
    Raises ConfigError when codes are asked for and there are none, EmptyDataError when no AUC can be taken.
    """
    codes = choose_codes(codes, config, seed)
    starts = codes.starts if codes is not None and (config.wide or config.dot) else None
    sizes, items = codes.sizes if codes else {}, starts.items.to_list() if starts is not None else ()
    encoder = FieldEncoder.fit(dataset, sizes, user_field=config.user_field, started=items)
    train, valid = labelled_rows(dataset, "train"), labelled_rows(dataset, "valid")
    train_rows = torch.from_numpy(encode_rows(train, dataset, encoder, codes, cross_fitted=True))
    valid_rows = torch.from_numpy(encode_rows(valid, dataset, encoder, codes))
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(network or RECOMMENDERS[config.recommender].network, *shape_of(encoder, config, codes))
        if isinstance(model, PathNetwork):
            set_starts(model, encoder, starts)
        log = fit_network(
            model,
            FieldDropout(encoder, config),
            (train_rows, torch.tensor(train["label"].to_numpy(), dtype=torch.float32)),
            (valid_rows, valid["label"].to_numpy()),
            config=config,
            label=label,
            groups=path_groups(model, config) if isinstance(model, PathNetwork) else None,
        )
        settle_unmet(model, encoder, train["item_id"])
        if isinstance(model, PathNetwork) and config.calibrated:
            calibrate(model, valid_rows, valid["label"].to_numpy())
    return FittedRecommender(model, encoder, codes, config, dataset, seed, log)


def labelled_rows(dataset: Dataset, part: str) -> pl.DataFrame:
    """The rows of `part`. Raises EmptyDataError where they are all of one label: no AUC could be taken."""
    rows = dataset.rows(part)
    if rows.height < 2 or rows["label"].n_unique() < 2:
        found = f"{rows.height:,}, all of one label" if rows.height else "none"
        raise EmptyDataError(f"{dataset.path}: {part} rows: {found}; more data or another split is needed")
    return rows


def choose_codes(codes: CodeTable | None, config: RecommenderConfig, seed: int) -> CodeTable | None:
    """The codes that become fields under `config.codes`: none, the profile's, or a control of their shape."""
    if config.codes == "none":
        return None
    if codes is None:
        raise ConfigError(f"codes: {config.codes!r} needs the codes of the quantize step; or choose 'none'")
    return codes.control(config.codes, seed)


def shape_of(encoder: FieldEncoder, config: RecommenderConfig, codes: CodeTable | None) -> tuple[NetworkShape, Paths]:
    """The sizes of the network over these fields, and the paths beside it."""
    mine = encoder.positions("code")
    shared = (mine[0], mine[-1] + 1) if config.shared_codes and len(mine) > 1 else None
    shape = NetworkShape(encoder.sizes, config.embedding, config.cross_layers, config.mlp, config.dropout, shared)
    return shape, paths_of(encoder, config, codes)


def encode_rows(
    interactions: pl.DataFrame,
    dataset: Dataset,
    encoder: FieldEncoder,
    codes: CodeTable | None,
    *,
    cross_fitted: bool = False,
) -> NDArray[np.int64]:
    """Rows int64 [n, F]. `cross_fitted`: train rows take the code of docs/method.md#cross-fitting."""
    code_rows = None
    if codes is not None:
        users = interactions["user_id"]
        if cross_fitted and codes.folds > 1:
            code_rows = codes.rows_of(users, fold_of_rows(interactions, codes.folds, codes.fold_seed))
        else:
            code_rows = codes.rows_of(users)
    return encoder.encode(with_item_fields(interactions, dataset), code_rows)


class FieldDropout:
    """Id-dropout: rows become 0 as they will when serving, so that the unknown rows are trained.

    One draw per example decides how well its user is known: a stranger (user row, codes and user fields
    hidden), a user folded in later (user row hidden), or a known one. Apart from that the item hides with its
    fields, and so does each context field.

    `beside` says of whom every further column behind the fields tells: it hides with a stranger, or with the item. What
    tells of a user who is folded in later stays: it is what such a user is served by.
    """

    def __init__(
        self, encoder: FieldEncoder, config: RecommenderConfig, beside: Sequence[Literal["user", "item"]] = ()
    ) -> None:
        self.config = config
        fields = len(encoder.fields)
        of = {whom: tuple(fields + k for k, told in enumerate(beside) if told == whom) for whom in ("user", "item")}

        def flags(*places: int) -> Tensor:
            flags = torch.zeros(fields + len(beside), dtype=torch.bool)
            flags[list(places)] = True
            return flags

        self.stranger = flags(*encoder.positions("user_row", "code", "user"), *of["user"])
        self.folded_in = flags(*encoder.positions("user_row"))
        self.apart = [flags(*encoder.positions("item_row", "item"), *of["item"])]
        self.apart += [flags(place) for place in encoder.positions("context")]

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows int64 [n, F] with fresh draws from the global generator."""
        config, n = self.config, len(rows)
        draw = torch.rand(n, 1)
        hidden = (draw < config.profile_dropout) & self.stranger
        hidden |= (draw >= 1 - config.id_dropout) & self.folded_in
        for flags in self.apart:
            hidden |= (torch.rand(n, 1) < config.item_dropout) & flags
        return rows.masked_fill(hidden, 0)


def fit_network(
    model: nn.Module,
    hide: FieldDropout,
    train: tuple[Tensor, Tensor],
    valid: tuple[Tensor, NDArray[np.bool_]],
    *,
    config: RecommenderConfig,
    label: str | None,
    groups: Sequence[dict[str, Any]] | None = None,
) -> tuple[Epoch, ...]:
    """Train `model` in place and leave it with its best weights, in evaluation mode.

    `groups` are the optimiser's, for a model of which a part has its own rate or weight decay.
    """
    optimiser = torch.optim.Adam(groups or model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True)
    loss_of = nn.BCEWithLogitsLoss()
    best = BestWeights(model)
    if isinstance(model, PathNetwork) and model.started:
        best.over(float("nan"), auc(valid[1], predict_rows(model, valid[0])), config.patience)
    for _ in track(range(config.epochs), config.epochs, label) if label else range(config.epochs):
        model.train()
        order = torch.randperm(len(train[0]))
        rows, labels = hide(train[0])[order], train[1][order]
        losses = []
        for batch, wanted in zip(torch.split(rows, config.batch), torch.split(labels, config.batch), strict=True):
            if len(batch) < 2:
                continue  # BatchNorm has no variance of one row
            optimiser.zero_grad()
            loss = loss_of(model(batch), wanted)
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        score = auc(valid[1], predict_rows(model, valid[0]))
        if best.over(float(torch.stack(losses).mean()), score, config.patience):
            break
    best.again()
    model.eval()
    return tuple(best.log)


def predict_rows(model: nn.Module, rows: Tensor) -> NDArray[np.float32]:
    """Click probabilities float32 [n] of rows int64 [n, F]; leaves the model in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        pieces = [torch.sigmoid(model(piece)) for piece in torch.split(rows, PREDICT_BATCH)]
        result: NDArray[np.float32] = torch.cat(pieces).numpy() if pieces else np.empty(0, np.float32)
    return result
