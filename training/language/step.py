"""The language step: RUN/language holds the frozen model, its tokenizer, and how to read histories with them.

model.safetensors, config.json, tokenizer.json ..   a Hugging Face folder (absent when `language.path` names one)
catalogue.parquet     the data set's items
reader.json           facets, history settings, attributes, counts for slot words, hash of the training text
Fold-in needs this folder and no data set.
"""

import hashlib
import json
import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from userip.models.prompt.token_loss import token_loss
from userip.training.config import TrainConfig
from userip.training.crossfit.histories import Histories, Ints, histories_of
from userip.training.data.dataset import Dataset
from userip.training.errors import DataError
from userip.training.language.config import FacetConfig, HistoryConfig
from userip.training.language.frozen import FrozenLM, torch_dtype
from userip.training.language.pretrain import Nats, new_model, pretrain, probe_users, split_nats
from userip.training.language.prompt_builder import PromptBuilder, tokenizer_texts
from userip.training.language.sequences import batches, put_in_slots, token_lengths
from userip.training.language.slot_initializer import SlotInitializer
from userip.training.language.tokenizer import train_tokenizer

log = logging.getLogger(__name__)


def run_language(dataset: Dataset, run: Path, out: Path, config: TrainConfig, seed: int) -> dict[str, Any]:
    """Train the small model, or fetch the one that `language.path` names; measure it; write the folder."""
    train = train_histories(dataset, config.history)
    catalogue = dataset.items
    attributes = dataset.info.attributes
    _check_columns(config, catalogue)
    figures: dict[str, Any] = {"log_items": round(math.log(catalogue.height), 4)}
    probe = probe_users(train, seed)
    if config.language.path is None:
        texts = tokenizer_texts(catalogue, attributes, config.facets, config.history)
        tokenizer = train_tokenizer(texts, config.language.vocabulary)
        model = new_model(config.language, tokenizer, seed)
        dtype = torch_dtype(config.language.dtype)

        def encode(text: str) -> list[int]:
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])

        reader = PromptBuilder(catalogue, attributes, encode, tokenizer.bos_token_id, config.facets, config.history)
        reader.check_fits(model.config.n_positions)  # before the training, not behind it
        # The words are counted on the same users that the model is trained on.
        rest = train.keep(~np.isin(train.owner, probe))
        fillers = SlotInitializer.fit(config.facets, catalogue, attributes, encode, rest)
        checkpoint = out / "checkpoint.safetensors"
        losses = pretrain(model, reader, fillers, rest, config.language, seed, dtype, checkpoint)
        checkpoint.unlink(missing_ok=True)
        model.save_pretrained(out, safe_serialization=True)
        tokenizer.save_pretrained(out)
        figures |= {"steps": config.language.steps, "last_loss": round(float(np.mean(losses[-20:])), 4)}
        lm = FrozenLM.load(out, config.language.dtype)
    else:
        lm = FrozenLM.load(config.language.path, config.language.dtype)
        reader = PromptBuilder(catalogue, attributes, lm.encode, lm.bos, config.facets, config.history)
    reader.check_fits(lm.longest)
    fillers = SlotInitializer.fit(config.facets, catalogue, attributes, lm.encode, train)
    figures["parameters"] = sum(p.numel() for p in lm.model.parameters())
    if len(probe):
        figures["probe"] = _measure(lm, reader, fillers, train.of(probe), seed)
        said = figures["probe"]["own words"]
        log.info(
            "language: %.2f nats per item with the user's own words (log of the items: %.2f), polarity %.3f",
            said["title"] + said["polarity"], figures["log_items"], said["polarity"],
        )  # fmt: skip
    _write(out, dataset, config, catalogue, fillers)
    return figures


def train_histories(dataset: Dataset, history: HistoryConfig) -> Histories:
    """Histories of the train users, sorted by user id, from train rows alone."""
    rows = dataset.rows("train")
    users = rows["user_id"].unique().sort().to_list()
    return histories_of(rows, dataset.items, users).last(history.longest)


def load_language(directory: Path, path: str | None, dtype: str) -> tuple[FrozenLM, PromptBuilder, SlotInitializer]:
    """Open RUN/language. Raises DataError for a folder that is not complete."""
    try:
        said = json.loads((directory / "reader.json").read_bytes())
        catalogue = pl.read_parquet(directory / "catalogue.parquet")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: not found; run `userip language` again") from None
    lm = FrozenLM.load(path or directory, dtype)
    facets = tuple(FacetConfig.model_validate(facet) for facet in said["facets"])
    history = HistoryConfig.model_validate(said["history"])
    attributes = tuple(said["attributes"])
    reader = PromptBuilder(catalogue, attributes, lm.encode, lm.bos, facets, history)
    try:
        fillers = SlotInitializer.restore(facets, catalogue, attributes, lm.encode, said["fillers"])
    except KeyError as missing:
        file = directory / "reader.json"
        raise DataError(
            f"{file}: fillers: no {missing}; it is of an earlier version: run `userip language` again"
        ) from None
    return lm, reader, fillers


def positive_above_of(directory: Path) -> float | None:
    """The rating above which the run's data set counted an interaction as positive; None: it had labels."""
    try:
        value = json.loads((directory / "reader.json").read_bytes())["positive_above"]
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: not found; run `userip train` first") from None
    return None if value is None else float(value)


def _check_columns(config: TrainConfig, catalogue: pl.DataFrame) -> None:
    for facet in config.facets:
        for column in facet.columns:
            if column not in catalogue.columns:
                raise DataError(
                    f"facets.{facet.name}.columns: the catalogue has no column {column!r}; "
                    f"it has {', '.join(catalogue.columns)}"
                )


def _write(out: Path, dataset: Dataset, config: TrainConfig, catalogue: pl.DataFrame, fillers: SlotInitializer) -> None:
    catalogue.write_parquet(out / "catalogue.parquet")
    text = hashlib.sha256()
    for part in (dataset.rows("train"), dataset.items):
        for number, piece in enumerate(part.iter_slices(1 << 18)):  # the whole text would be gigabytes
            text.update(piece.write_csv(include_header=number == 0).encode())
    said = {
        "facets": [facet.model_dump(mode="json") for facet in config.facets],
        "history": config.history.model_dump(mode="json"),
        "attributes": list(dataset.info.attributes),
        "positive_above": dataset.info.positive_above,
        "fillers": fillers.state(),
        "split_hash": dataset.split_hash,
        "trained_on_sha256": text.hexdigest(),
        "path": config.language.path,
    }
    (out / "reader.json").write_text(json.dumps(said, indent=1), encoding="utf-8")


def _measure(
    lm: FrozenLM, reader: PromptBuilder, fillers: SlotInitializer, users: Histories, seed: int
) -> dict[str, Any]:
    """Nats per held-out item under the user's own slot words, no words, and another user's words."""
    draw = np.random.default_rng([seed, 3])
    ranks = users.ranks(draw)
    half = (users.lengths // 2)[users.owner]
    known, target = users.keep(ranks < half), users.keep((ranks >= half) & (ranks < half + 16))
    own = fillers.slots(known, lm.table.float())
    silent = fillers.slots(known, lm.table.float(), np.ones((len(users), len(reader.facets)), dtype=np.bool_))
    other = own[torch.from_numpy(np.roll(np.arange(len(users)), 1))]
    result = {}
    for name, slots in (("own words", own), ("no words", silent), ("another user's words", other)):
        result[name] = {
            key: round(value, 4) for key, value in asdict(held_out(lm, reader, target, slots[:, :, None])).items()
        }
    return result


@torch.no_grad()
def held_out(lm: FrozenLM, reader: PromptBuilder, target: Histories, z: Tensor) -> Nats:
    """Mean nats per item of target histories [U] under z [U, J, m, d], each token weighing the same."""
    title = polarity = 0.0
    for users in _groups(target, reader):
        part = target.of(users)
        batch = reader.batch(part)
        words = lm.embed(batch.tokens)
        states = lm.hidden(put_in_slots(words, reader.prompt, z[users]), batch.mask(words.dtype), batch.position)
        nll = token_loss(states.flatten(0, 1)[batch.source], lm.head, batch.target, batch.weight, bias=lm.head_bias).nll
        nats = split_nats(batch, nll)
        title += nats.title * len(part.items)
        polarity += nats.polarity * len(part.items)
    count = max(len(target.items), 1)
    return Nats(title / count, polarity / count)


def _groups(target: Histories, reader: PromptBuilder) -> list[Ints]:
    lengths = token_lengths(target, reader.texts)
    return batches(lengths, len(reader.prompt.tokens), 12_000)
