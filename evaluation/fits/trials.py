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

from userip.disk import is_full
from userip.evaluation.baselines.kar_style import fit_kar_style
from userip.evaluation.baselines.pepler_style import fit_pepler_style
from userip.evaluation.baselines.rella_style import fit_rella_style
from userip.evaluation.controls import CONTROLS
from userip.evaluation.fits import cache
from userip.evaluation.fits.cache import Stored, key_of
from userip.evaluation.fits.dense import fit_dense
from userip.evaluation.fits.runs import Profiles
from userip.evaluation.plan import DENSE, SHAPED, WITHOUT_SETTINGS, Experiment
from userip.evaluation.results import Predictions
from userip.training.data.dataset import Dataset
from userip.training.formulas import FORMULAS
from userip.training.formulas.ground import Ground
from userip.training.formulas.probabilities import FittedFormula
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.fit import fit_recommender
from userip.training.recommender.networks import NETWORKS

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
class Trial:
    """One fit and everything it depends on. `profiles`: the run whose codes it uses, or whose shape, or language."""

    experiment: Experiment
    seed: int
    settings: RecommenderConfig
    profiles: Profiles | None

    def content(self, split_hash: str) -> dict[str, Any]:
        """What the result depends on; the section that shows it is no part of that."""
        method = self.experiment.method
        content: dict[str, Any] = {
            "split": split_hash, "method": method, "network": self.experiment.network, "seed": self.seed,
        }  # fmt: skip
        if method not in WITHOUT_SETTINGS:
            content["fit"] = self.settings.model_dump(mode="json", exclude={"codes", "recommender"})
        if self.profiles and method in (self.profiles.config.method, *SHAPED):
            content["codes"] = self.profiles.mark
        if self.experiment.variant == DENSE and self.profiles:
            content |= {"codes": self.profiles.marks["infer"], "dense": True}
        if method in CONTROLS:
            content |= control_content(self.profiles)
        if method in WHOLE_MACHINE and self.profiles:
            content["language"] = self.profiles.marks.get("language")
        return content

    def key(self, split_hash: str) -> str:
        """Its name in the cache."""
        return key_of(self.content(split_hash))


def control_content(profiles: Profiles | None) -> dict[str, Any]:
    """What a control's codes depend on, beside data and seed."""
    if profiles is None:
        return {}
    return {"sizes": profiles.sizes, "folds": profiles.config.infer.folds, "fold_seed": profiles.seed}


def compute(dataset: Dataset, report: Path, trial: Trial) -> Stored:
    """Fit and predict, or read what an earlier run has left; then it is in the cache."""
    cells, key = report / "cells", trial.key(dataset.split_hash)
    found = cache.read(cells, key)
    if found is not None:
        return found
    begun = time.perf_counter()
    fitted = _fit(dataset, report, trial)
    predictions = [fitted.predict(rows) for rows in (dataset.rows("valid"), dataset.test_pairs())]
    stored = Stored(predictions[0], predictions[1], time.perf_counter() - begun)
    cache.write(cells, key, stored)
    return stored


def work(path: Path, report: Path, trial: Trial) -> str | None:
    """`compute` in a process of its own: what went wrong in one line, or None."""
    try:
        compute(_opened(path), report, trial)
    except Exception as error:
        return reason_of(error)
    return None


def reason_of(error: BaseException) -> str:
    """What went wrong, in one line. A full disk is raised: nothing else could be kept either."""
    if is_full(error):
        raise error
    said = " ".join(str(error).split())[:500]
    named = type(error).__module__.startswith("userip.") and said
    return said if named else f"{type(error).__name__}: {said}"


@lru_cache(maxsize=1)
def _opened(path: Path) -> Dataset:
    return Dataset.open(path)


def _fit(dataset: Dataset, report: Path, trial: Trial) -> Predicts:
    special = SPECIAL.get(trial.experiment.method)
    if special is not None:
        return special(dataset, report, trial)
    if trial.experiment.variant == DENSE:
        assert trial.profiles is not None
        return fit_dense(dataset, trial.profiles.run, trial.settings, trial.seed)
    codes = codes_of(dataset, report, trial)
    method = trial.experiment.method
    kind = "none" if codes is None else method if method in SHAPED else "profile"
    settings = trial.settings.model_copy(update={"codes": kind})
    return fit_recommender(dataset, codes, settings, trial.seed, network=NETWORKS[trial.experiment.network])


def codes_of(dataset: Dataset, report: Path, trial: Trial) -> CodeTable | None:
    """The codes that a trial is fitted with; None without code fields."""
    if trial.profiles is None or trial.experiment.method == "none":
        return None
    if trial.experiment.method in CONTROLS:
        return control_codes(dataset, report, trial.experiment.method, trial.profiles, trial.seed)
    return trial.profiles.codes(dataset.split_hash)


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


def _constant_rate(dataset: Dataset, report: Path, trial: Trial) -> Predicts:
    return _Rate(float(dataset.rows("train")["label"].to_numpy().mean()))


def _retrained(dataset: Dataset, report: Path, trial: Trial) -> Predicts:
    settings = trial.settings.model_copy(update={"codes": "none", "user_field": True})
    more = WithHistories(dataset.path, dataset.info)
    return fit_recommender(more, None, settings, trial.seed, network=NETWORKS[trial.experiment.network])


def _kar_style(dataset: Dataset, report: Path, trial: Trial) -> Predicts:
    settings = trial.settings.model_copy(update={"codes": "none"})
    return fit_kar_style(dataset, report / "texts", settings, trial.seed)


def _pepler_style(dataset: Dataset, report: Path, trial: Trial) -> Predicts:
    assert trial.profiles is not None
    return fit_pepler_style(dataset, trial.profiles.run, trial.profiles.config, trial.seed)


def _rella_style(dataset: Dataset, report: Path, trial: Trial) -> Predicts:
    assert trial.profiles is not None
    return fit_rella_style(dataset, trial.profiles.run, trial.profiles.config, trial.seed)


def _formula(dataset: Dataset, report: Path, trial: Trial) -> Predicts:
    return FittedFormula.fit(trial.experiment.method, Ground(dataset))


SPECIAL: Final[dict[str, Callable[[Dataset, Path, Trial], Predicts]]] = {
    **dict.fromkeys(FORMULAS, _formula),
    "constant-rate": _constant_rate,
    "retrained": _retrained,
    "kar-style": _kar_style,
    "pepler-style": _pepler_style,
    "rella-style": _rella_style,
}
