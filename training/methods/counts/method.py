"""Counts as an entry of METHODS: the choice where AUC over all users is all that is needed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from userip.training.methods.counts.config import CountsConfig
from userip.training.methods.protocol import Facet, Profiler, SoftPrompts, Variation
from userip.training.methods.settings import MethodSettings

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from userip.training.crossfit.histories import Histories, Ints
    from userip.training.crossfit.views import CrossFitViews, ViewKeys
    from userip.training.data.dataset import Dataset
    from userip.training.methods.config import ProfileConfig
    from userip.training.methods.counts.statistics import Statistics

FACETS: Final = ("generosity", "warmth", "activity")
STATE: Final = "counts.json"
ITEMS: Final = "items.parquet"
AT_ONCE: Final = 65_536  # views of a batch


class Counts:
    """Three facets of one number each: generosity, warmth and activity."""

    name: str = "counts"
    settings: type[MethodSettings] = CountsConfig
    presets: Mapping[str, Mapping[str, Any]] = {"default": {}, "quick": {"quantize": {"restarts": 4}}}
    needs_language: bool = False
    refines: bool = False
    ablations: Mapping[str, Variation] = {"last 8 items": Variation(("history.longest=8",))}
    sweeps: Mapping[str, Variation] = {
        f"size={size}": Variation(tuple(f"infer.{facet}={size}" for facet in FACETS)) for size in (3, 4, 9, 16, 27, 81)
    }

    def check(self, config: "ProfileConfig") -> None:
        """Any settings fit each other."""

    def facets(self, config: "ProfileConfig") -> tuple[Facet, ...]:
        """Sizes are settings of the section `infer`."""
        assert isinstance(config.infer, CountsConfig)
        return tuple(Facet(name, getattr(config.infer, name)) for name in FACETS)

    def fit(
        self, dataset: "Dataset", views: "CrossFitViews", run: Path, out: Path, config: "ProfileConfig", seed: int
    ) -> Profiler:
        """Count, for whole histories and once more without each fold: counts.json, and the catalogue's item ids."""
        import numpy as np

        from userip.files import write_text
        from userip.training.crossfit.views import FULL
        from userip.training.methods.counts.statistics import Statistics

        if not (out / STATE).is_file():
            dataset.items.select("item_id").write_parquet(out / ITEMS)
            train = views.histories.of(views.full)
            fold = views.fold[views.histories.places(views.full)]
            folds = np.unique(views.without)
            parts = {int(one): train if one == FULL else train.keep(fold != one) for one in folds}
            fitted = {one: Statistics.fit(part, dataset.items.height).state() for one, part in parts.items()}
            write_text(out / STATE, json.dumps({"folds": config.infer.folds, "without": fitted}))
        return self.open(run, out, config, seed)

    def open(self, run: Path, out: Path, config: "ProfileConfig", seed: int) -> Profiler:
        """Open what `fit` wrote. Nothing is drawn: the seed makes no difference."""
        import polars as pl

        from userip.training.methods.counts.statistics import Statistics

        said = json.loads((out / STATE).read_bytes())
        fitted = {int(fold): Statistics.restore(state) for fold, state in said["without"].items()}
        return Counting(pl.read_parquet(out / ITEMS), int(said["folds"]), fitted)

    def describe(self, out: Path, facet: str, codes: "Tensor") -> tuple[str, ...]:
        """Plain words with figures."""
        from userip.training.methods.counts import words

        centres = codes[:, 0].double().numpy()
        if facet == "generosity":
            stars = json.loads((out / STATE).read_bytes())["without"]["-1"]["judgements"]["stars"]
            return tuple(words.generosity(centres, rated=stars is not None))
        return tuple(words.warmth(centres) if facet == "warmth" else words.activity(centres))

    def soft_prompts(self, profiler: Profiler) -> SoftPrompts | None:
        """There are none."""
        return None


@dataclass(frozen=True, eq=False)
class Counting:
    """Counts, fitted: `without` -1 to everything, f >= 0 to the train rows without fold f."""

    items: "pl.DataFrame"
    folds: int
    without: "Mapping[int, Statistics]"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Three facets of one number."""
        return len(FACETS), 1, 1

    @property
    def figures(self) -> Mapping[str, Any]:
        """How many users the prior of warmth counts for, and whether there are ratings."""
        whole = self.without[-1]
        return {"rated": whole.rated, "prior_interactions": round(whole.a + whole.b, 4)}

    def batches(self, views: "CrossFitViews") -> "list[Ints]":
        """Views in their order."""
        return views.in_turn(AT_ONCE)

    def infer(self, histories: "Histories", keys: "ViewKeys") -> "Tensor":
        """z float32 [B, 3, 1, 1]. What is fitted without a fold is asked of the histories without it."""
        import numpy as np
        import torch

        found = np.zeros((len(histories), len(FACETS)))
        for fold in np.unique(keys.without).tolist():
            mine = np.flatnonzero(keys.without == fold)
            # Without one of F folds a history counts for F / (F - 1) times as many interactions.
            scale = 1.0 if fold < 0 else self.folds / (self.folds - 1)
            found[mine] = self.without[fold].of(histories.of(mine), np.full(len(mine), scale))
        return torch.from_numpy(found.astype(np.float32))[:, :, None, None]
