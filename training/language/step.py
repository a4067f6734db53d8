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
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from torch import Tensor

from userip.models.prompt.token_loss import token_loss
from userip.training.crossfit.histories import Histories, Ints, histories_of
from userip.training.data.dataset import Dataset
from userip.training.errors import DataError
from userip.training.language.config import FacetConfig, HistoryConfig, LanguageConfig
from userip.training.language.frozen import FrozenLM, torch_dtype
from userip.training.language.language import Language
from userip.training.language.pretrain import Nats, new_model, pretrain, probe_users, split_nats
from userip.training.language.prompt_builder import PromptBuilder, tokenizer_texts
from userip.training.language.sequences import batches, put_in_slots, token_lengths
from userip.training.language.slot_initializer import SlotInitializer
from userip.training.language.tokenizer import train_tokenizer

log = logging.getLogger(__name__)

CHECKPOINT: Final = "checkpoint.safetensors"


def run_language(
    dataset: Dataset,
    run: Path,
    out: Path,
    facets: tuple[FacetConfig, ...],
    history: HistoryConfig,
    language: LanguageConfig,
    seed: int,
) -> dict[str, Any]:
    """Train the small model, or fetch the one that `language.path` names; measure it; write the folder."""
    train = train_histories(dataset, history)
    catalogue = dataset.items
    attributes = dataset.info.attributes
    _check_columns(facets, catalogue)
    figures: dict[str, Any] = {"log_items": round(math.log(catalogue.height), 4)}
    probe = probe_users(train, seed)
    if language.path is None:
        texts = tokenizer_texts(catalogue, attributes, facets, history)
        tokenizer = train_tokenizer(texts, language.vocabulary)
        model = new_model(language, tokenizer, seed)
        dtype = torch_dtype(language.dtype)

        def encode(text: str) -> list[int]:
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])

        prompts = PromptBuilder(catalogue, attributes, encode, tokenizer.bos_token_id, facets, history)
        prompts.check_fits(model.config.n_positions)  # before the training, not behind it
        # The words are counted on the same users that the model is trained on.
        rest = train.keep(~np.isin(train.owner, probe))
        slots = SlotInitializer.fit(facets, catalogue, attributes, encode, rest)
        losses = pretrain(model, prompts, slots, rest, language, seed, dtype, out / CHECKPOINT)
        model.save_pretrained(out, safe_serialization=True)
        tokenizer.save_pretrained(out)
        figures |= {"steps": language.steps, "last_loss": round(float(np.mean(losses[-20:])), 4)}
        lm = FrozenLM.load(out, language.dtype)
    else:
        lm = FrozenLM.load(language.path, language.dtype)
        prompts = PromptBuilder(catalogue, attributes, lm.encode, lm.bos, facets, history)
    prompts.check_fits(lm.longest)
    slots = SlotInitializer.fit(facets, catalogue, attributes, lm.encode, train)
    figures["parameters"] = sum(p.numel() for p in lm.model.parameters())
    if len(probe):
        figures["probe"] = _measure(Language(lm, prompts, slots), train.of(probe), seed)
        said = figures["probe"]["own words"]
        log.info(
            "language: %.2f nats per item with the user's own words (log of the items: %.2f), polarity %.3f",
            said["title"] + said["polarity"], figures["log_items"], said["polarity"],
        )  # fmt: skip
    _write(out, dataset, Language(lm, prompts, slots), language.path)
    (out / CHECKPOINT).unlink(missing_ok=True)  # not before the model is on the disk
    return figures


def train_histories(dataset: Dataset, history: HistoryConfig) -> Histories:
    """Histories of the train users, sorted by user id, from train rows alone."""
    rows = dataset.rows("train")
    users = rows["user_id"].unique().sort().to_list()
    return histories_of(rows, dataset.items, users).last(history.longest)


def _check_columns(facets: tuple[FacetConfig, ...], catalogue: pl.DataFrame) -> None:
    for facet in facets:
        for column in facet.columns:
            if column not in catalogue.columns:
                raise DataError(
                    f"facets.{facet.name}.columns: the catalogue has no column {column!r}; "
                    f"it has {', '.join(catalogue.columns)}"
                )


def _write(out: Path, dataset: Dataset, language: Language, path: str | None) -> None:
    prompts = language.prompts
    prompts.items.write_parquet(out / "catalogue.parquet")
    text = hashlib.sha256()
    for part in (dataset.rows("train"), dataset.items):
        for number, piece in enumerate(part.iter_slices(1 << 18)):  # the whole text would be gigabytes
            text.update(piece.write_csv(include_header=number == 0).encode())
    said = {
        "facets": [facet.model_dump(mode="json") for facet in prompts.facets],
        "history": prompts.history.model_dump(mode="json"),
        "attributes": list(dataset.info.attributes),
        "positive_above": dataset.info.positive_above,
        "fillers": language.slots.state(),
        "split_hash": dataset.split_hash,
        "trained_on_sha256": text.hexdigest(),
        "path": path,
    }
    (out / "reader.json").write_text(json.dumps(said, indent=1), encoding="utf-8")


def _measure(language: Language, users: Histories, seed: int) -> dict[str, Any]:
    """Nats per held-out item under the user's own slot words, no words, and another user's words."""
    draw = np.random.default_rng([seed, 3])
    ranks = users.ranks(draw)
    half = (users.lengths // 2)[users.owner]
    known, target = users.keep(ranks < half), users.keep((ranks >= half) & (ranks < half + 16))
    lm, prompts, words = language
    own = words.slots(known, lm.table.float())
    silent = words.slots(known, lm.table.float(), np.ones((len(users), len(prompts.facets)), dtype=np.bool_))
    other = own[torch.from_numpy(np.roll(np.arange(len(users)), 1))]
    result = {}
    for name, slots in (("own words", own), ("no words", silent), ("another user's words", other)):
        result[name] = {
            key: round(value, 4) for key, value in asdict(held_out(language, target, slots[:, :, None])).items()
        }
    return result


@torch.no_grad()
def held_out(language: Language, target: Histories, z: Tensor) -> Nats:
    """Mean nats per item of target histories [U] under z [U, J, m, d], each token weighing the same."""
    lm, prompts, _ = language
    title = polarity = 0.0
    for users in _groups(target, prompts):
        part = target.of(users)
        batch = prompts.batch(part)
        tokens = lm.embed(batch.tokens)
        states = lm.hidden(put_in_slots(tokens, prompts.prompt, z[users]), batch.mask(tokens.dtype), batch.position)
        nll = token_loss(states.flatten(0, 1)[batch.source], lm.head, batch.target, batch.weight, bias=lm.head_bias).nll
        nats = split_nats(batch, nll)
        title += nats.title * len(part.items)
        polarity += nats.polarity * len(part.items)
    count = max(len(target.items), 1)
    return Nats(title / count, polarity / count)


def _groups(target: Histories, prompts: PromptBuilder) -> list[Ints]:
    lengths = token_lengths(target, prompts.texts)
    return batches(lengths, len(prompts.prompt.tokens), 12_000)
