"""The fitted method: what is said of items, level, and item vectors; and profiles given these.

taste.json         level, what was chosen, and how attributes lean
taste.safetensors  item vectors v [I, k], alpha, beta and s; the basis of profiles; ease and stars, of each fold
items.parquet      the catalogue's item ids
starts.safetensors what the recommender starts from (`training.methods.starts`)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from userip.files import beside, write_text
from userip.training.crossfit.histories import Histories, Ints
from userip.training.crossfit.views import FULL, CrossFitViews, ViewKeys
from userip.training.data.dataset import Dataset
from userip.training.judging.attributes import attributes_of, told_by_attributes
from userip.training.judging.events import Events
from userip.training.judging.judgements import Judgements, beta_prior
from userip.training.judging.level import Level
from userip.training.methods.starts import ItemStarts
from userip.training.methods.taste.config import TasteConfig
from userip.training.methods.taste.fitting import fit_vectors
from userip.training.methods.taste.vectors import Tensors, Vectors, rotated
from userip.training.threads import one_thread

STATE: Final = "taste.json"
TENSORS: Final = "taste.safetensors"
ITEMS: Final = "items.parquet"
AT_ONCE: Final = 16_384  # views of a batch

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Profiles:
    """The method, open to infer: `said` holds what histories say of items, of all folds (-1) and without each."""

    items: pl.DataFrame
    folds: int
    said: Mapping[int, Judgements]
    level: Level
    vectors: Vectors
    basis: Tensor
    figures: Mapping[str, Any]

    @classmethod
    def open(cls, out: Path) -> "Profiles":
        """Open what `fit_profiles` wrote."""
        state, tensors = json.loads((out / STATE).read_bytes()), load_file(out / TENSORS)
        vectors = Vectors(torch.zeros(len(tensors["of_items"]), 0), tensors["of_items"].shape[1])
        own = {name: tensors[name] for name in vectors.state_dict() if name != "of_attributes"}
        vectors.load_state_dict(own, strict=False)
        said = {
            fold: Judgements(
                tensors[f"ease.{fold}"].numpy(),
                stars.numpy() if (stars := tensors.get(f"stars.{fold}")) is not None else None,
            )
            for fold in state["without"]
        }
        items, level = pl.read_parquet(out / ITEMS), Level.restore(state["level"])
        return cls(items, state["folds"], said, level, vectors, tensors["basis"], state["figures"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Three facets as long as a taste; generosity and warmth are the first number of theirs."""
        return 3, 1, len(self.basis)

    def batches(self, views: CrossFitViews) -> list[Ints]:
        """Views in their order."""
        return views.in_turn(AT_ONCE)

    def infer(self, histories: Histories, keys: ViewKeys) -> Tensor:
        """z float32 [B, 3, 1, k]. What is said of items without a fold is asked for the histories without it."""
        z = torch.zeros(len(histories), *self.shape)
        for fold in np.unique(keys.without).tolist():
            mine = np.flatnonzero(keys.without == fold)
            events = Events.of(histories.of(mine), self.said[fold])
            scale = 1.0 if fold == FULL else self.folds / (self.folds - 1)
            z[mine, :2, 0, 0] = torch.from_numpy(self.level.of_users(events, scale).astype(np.float32))
            with torch.no_grad(), one_thread():
                z[mine, 2, 0] = self.vectors.tastes(Tensors.of(events)) @ self.basis
        return z


def fit_profiles(dataset: Dataset, views: CrossFitViews, out: Path, config: TasteConfig, seed: int) -> None:
    """Fit to train users' whole histories and write to `out`; taste.json comes last."""
    train, items = views.histories.of(views.full), dataset.items
    fold = views.fold[views.histories.places(views.full)]
    without = [int(one) for one in np.unique(views.without)]
    said = {one: Judgements.fit(train if one == FULL else train.keep(fold != one), items.height) for one in without}
    met = np.bincount(train.items, minlength=items.height).astype(np.float64)
    known = np.log(np.maximum(met, 1.0))
    events = Events.across_users(train, items.height)
    level = Level.fit(events, known, beta_prior(train))
    table, names = attributes_of(items, dataset.info.attributes, config.least_items)
    with one_thread(), torch.random.fork_rng(devices=[]):
        vectors, choice, nobody = fit_vectors(
            events, level.of_rows(events, known), torch.from_numpy(table), config, seed
        )
    with torch.no_grad():
        v = vectors.items()
    basis = rotated(v, met + 1e-9)
    turned = v @ torch.linalg.inv(basis).T
    tensors = {name: value for name, value in vectors.state_dict().items() if name != "of_attributes"}
    tensors |= {"of_items": v, "basis": basis}
    for one, judgements in said.items():
        tensors[f"ease.{one}"] = torch.from_numpy(judgements.ease)
        if judgements.stars is not None:
            tensors[f"stars.{one}"] = torch.from_numpy(judgements.stars)
    with beside(out / TENSORS) as partial:
        save_file({name: value.contiguous() for name, value in tensors.items()}, partial)
    items.select("item_id").write_parquet(out / ITEMS)
    whole = said[FULL]
    stars = whole.stars if whole.stars is not None else np.zeros(items.height)
    bias = level.of_items(told_by_attributes(whole.ease, table, met), told_by_attributes(stars, table, met), known)
    first = torch.zeros(len(basis))
    first[0] = 1.0
    facets = {"generosity": first, "warmth": level.warmth * first, "taste": turned}
    ItemStarts(torch.from_numpy(bias).float(), facets).write(out)
    state = {
        "folds": config.folds,
        "without": without,
        "level": level.state(),
        "attributes": _leanings(table, names, turned.double().numpy(), met),
        "figures": {
            "strengths": choice.strengths,
            "steps": choice.steps,
            "held_out_loss": round(choice.loss, 5),
            "held_out_loss_without_taste": round(nobody, 5),
        },
    }
    write_text(out / STATE, json.dumps(state))


def _leanings(table: NDArray[np.float32], names: list[str], vectors: Floats, met: Floats) -> dict[str, list[float]]:
    """Attribute -> how far the vectors of its items are from those of all, each weighed by how often it is met."""
    mean = np.average(vectors, axis=0, weights=met + 1e-9)
    weighed = table.astype(np.float64) * (met + 1e-9)[:, None]
    centres = (weighed.T @ vectors) / weighed.sum(axis=0)[:, None]
    return {name: [round(float(x), 5) for x in centre - mean] for name, centre in zip(names, centres, strict=True)}
