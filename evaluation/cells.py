"""One fit: from train and valid rows to predictions of the valid and the test rows.

The work gets test pairs without labels (`Dataset.test_pairs`), so no prediction can know them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import polars as pl

from userip.evaluation import cache
from userip.evaluation.baselines.kar_style import fit_kar_style
from userip.evaluation.baselines.pepler_style import fit_pepler_style
from userip.evaluation.baselines.rella_style import fit_rella_style
from userip.evaluation.cache import Stored, key_of
from userip.evaluation.controls import CONTROLS
from userip.evaluation.dense import fit_dense
from userip.evaluation.plan import DENSE, SHAPED, Line
from userip.evaluation.results import Predictions
from userip.evaluation.runs import Profiles
from userip.training.data.dataset import Dataset
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import CodesKind, RecommenderConfig
from userip.training.recommender.fit import fit_recommender
from userip.training.recommender.networks import NETWORKS

KINDS: Final[dict[str, CodesKind]] = {"constant": "constant", "random": "random", "shuffled": "shuffled"}
WHOLE_MACHINE: Final = ("kar-style", "pepler-style", "rella-style")  # they use all cores themselves


class Predicts(Protocol):
    """Whatever is fitted."""

    def predict(self, interactions: pl.DataFrame) -> Predictions:
        """Click probabilities float32 [n]."""


class WithHistories(Dataset):
    """The same data set, but the held-out users' histories are train rows: what retraining would see."""

    def rows(self, *splits: str) -> pl.DataFrame:
        """As `Dataset.rows`."""
        if splits in ((), ("train",)):
            return super().rows("train", "history")
        return super().rows(*splits)


@dataclass(frozen=True)
class Task:
    """One fit and everything it depends on. `profiles`: the run whose codes it uses, or whose shape, or language."""

    line: Line
    seed: int
    settings: RecommenderConfig
    profiles: Profiles | None

    def content(self, split_hash: str) -> dict[str, Any]:
        """What the result depends on; the section that shows it is no part of that."""
        content: dict[str, Any] = {
            "split": split_hash, "method": self.line.method, "network": self.line.network, "seed": self.seed,
        }  # fmt: skip
        if self.line.method != "constant-rate":
            content["fit"] = self.settings.model_dump(mode="json", exclude={"codes", "recommender"})
        if self.line.method in ("userip", *SHAPED) and self.profiles:
            content["codes"] = self.profiles.mark
        if self.line.variant == DENSE and self.profiles:
            content |= {"codes": self.profiles.infer_mark, "dense": True}
        if self.line.method in CONTROLS:
            content |= control_content(self.profiles)
        if self.line.method in WHOLE_MACHINE and self.profiles:
            content["language"] = self.profiles.language_mark
        return content

    def key(self, split_hash: str) -> str:
        """Its name in the cache."""
        return key_of(self.content(split_hash))


def control_content(profiles: Profiles | None) -> dict[str, Any]:
    """What a control's codes depend on, beside data and seed."""
    if profiles is None:
        return {}
    return {"sizes": profiles.sizes, "folds": profiles.config.infer.folds, "fold_seed": profiles.seed}


def compute(dataset: Dataset, report: Path, task: Task) -> Stored:
    """Fit and predict, or read what an earlier run has left; then it is in the cache."""
    cells, key = report / "cells", task.key(dataset.split_hash)
    found = cache.read(cells, key)
    if found is not None:
        return found
    begun = time.perf_counter()
    fitted = _fit(dataset, report, task)
    predictions = [fitted.predict(rows) for rows in (dataset.rows("valid"), dataset.test_pairs())]
    stored = Stored(predictions[0], predictions[1], time.perf_counter() - begun)
    cache.write(cells, key, stored)
    return stored


def work(path: Path, report: Path, task: Task) -> str | None:
    """`compute` in a process of its own. What goes wrong comes back as one line."""
    try:
        compute(_opened(path), report, task)
    except Exception as error:
        return reason_of(error)
    return None


def reason_of(error: BaseException) -> str:
    """One line that says what went wrong."""
    said = " ".join(str(error).split())[:500]
    named = type(error).__module__.startswith("userip.") and said
    return said if named else f"{type(error).__name__}: {said}"


@lru_cache(maxsize=1)
def _opened(path: Path) -> Dataset:
    return Dataset.open(path)


def _fit(dataset: Dataset, report: Path, task: Task) -> Predicts:
    special = SPECIAL.get(task.line.method)
    if special is not None:
        return special(dataset, report, task)
    if task.line.variant == DENSE:
        assert task.profiles is not None
        return fit_dense(dataset, task.profiles.run, task.settings, task.seed)
    codes = codes_of(dataset, report, task)
    kind: CodesKind = "none" if codes is None else KINDS.get(task.line.method, "profile")
    settings = task.settings.model_copy(update={"codes": kind})
    return fit_recommender(dataset, codes, settings, task.seed, network=NETWORKS[task.line.network])


def codes_of(dataset: Dataset, report: Path, task: Task) -> CodeTable | None:
    """The codes that a task is fitted with; None without code fields."""
    if task.profiles is None or task.line.method == "none":
        return None
    if task.line.method in CONTROLS:
        return control_codes(dataset, report, task.line.method, task.profiles, task.seed)
    return task.profiles.codes(dataset.split_hash)


def control_codes(dataset: Dataset, report: Path, method: str, profiles: Profiles, seed: int) -> CodeTable:
    """A control's codes, cross-fitted along the folds of the run's; kept on disk, for several fits need them."""
    shape = control_content(profiles)
    name = key_of(shape | {"split": dataset.split_hash, "control": method, "seed": seed})
    file = report / "cells" / "codes" / f"{name}.parquet"
    sizes, folds, fold_seed = profiles.sizes, shape["folds"], profiles.seed
    if not file.is_file():
        table = CONTROLS[method](dataset, sizes, folds, fold_seed, seed)
        cache.write_frame(file, table.frame)
    facets = tuple({"name": facet, "size": sizes[facet]} for facet in sorted(sizes))
    ordered = {facet: sizes[facet] for facet in sorted(sizes)}
    return CodeTable(pl.read_parquet(file), ordered, max(folds, 1), fold_seed, facets, method)


class _Rate:
    """Everybody clicks as often as train users do."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def predict(self, interactions: pl.DataFrame) -> Predictions:
        return np.full(interactions.height, self.rate, dtype=np.float32)


def _constant_rate(dataset: Dataset, report: Path, task: Task) -> Predicts:
    return _Rate(float(dataset.rows("train")["label"].to_numpy().mean()))


def _retrained(dataset: Dataset, report: Path, task: Task) -> Predicts:
    settings = task.settings.model_copy(update={"codes": "none", "user_field": True})
    more = WithHistories(dataset.path, dataset.info)
    return fit_recommender(more, None, settings, task.seed, network=NETWORKS[task.line.network])


def _kar_style(dataset: Dataset, report: Path, task: Task) -> Predicts:
    settings = task.settings.model_copy(update={"codes": "none"})
    return fit_kar_style(dataset, report / "texts", settings, task.seed)


def _pepler_style(dataset: Dataset, report: Path, task: Task) -> Predicts:
    assert task.profiles is not None
    return fit_pepler_style(dataset, task.profiles.run, task.profiles.config, task.seed, label=None)


def _rella_style(dataset: Dataset, report: Path, task: Task) -> Predicts:
    assert task.profiles is not None
    return fit_rella_style(dataset, task.profiles.run, task.profiles.config, task.seed, label=None)


SPECIAL: Final[dict[str, Callable[[Dataset, Path, Task], Predicts]]] = {
    "constant-rate": _constant_rate,
    "retrained": _retrained,
    "kar-style": _kar_style,
    "pepler-style": _pepler_style,
    "rella-style": _rella_style,
}
