"""How fast a profile becomes worth something: unseen users by their first 1, 2, 4, .. history rows.

Everything is frozen but the codes of the held-out users: the language model, the codebooks and the surrogate of seed
0, what a control was fitted with, and the recommender, which has no user field and was fitted with whole histories.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from userip.bank.record import UNKNOWN_CODE
from userip.evaluation.controls import CONTROLS
from userip.evaluation.fits import cache
from userip.evaluation.fits.cache import Stored, key_of
from userip.evaluation.fits.runs import Profiles
from userip.evaluation.fits.trials import Trial, codes_of, control_content
from userip.evaluation.plan import CURVE_ITEMS
from userip.evaluation.results import LearningCurve, Predictions
from userip.training.crossfit.views import FULL
from userip.training.data.dataset import Dataset
from userip.training.fold_in import FoldIn
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.fit import fit_recommender


@dataclass(frozen=True)
class Cut:
    """One fit of the curve. `trial`: a method and a recommender without user field, fitted with codes of seed 0."""

    trial: Trial
    items: tuple[int, ...] = CURVE_ITEMS

    def key(self, split_hash: str) -> str:
        """Its name in the cache."""
        return key_of(self.trial.content(split_hash) | {"curve": self.items, "codes_seed": 0})


class FirstRows(Dataset):
    """The same data set, but held-out users have their first rows of history only."""

    most: int

    @classmethod
    def of(cls, dataset: Dataset, most: int) -> "FirstRows":
        """`dataset` with at most so many history rows per user."""
        made = cls(dataset.path, dataset.info)
        made.most = most
        return made

    def rows(self, *splits: str) -> pl.DataFrame:
        """As `Dataset.rows`, for one part at a time."""
        found = super().rows(*splits)
        return first_rows(found, self.most) if splits == ("history",) else found


def first_rows(history: pl.DataFrame, most: int) -> pl.DataFrame:
    """Every user's first rows, in the order of the table, which is that of time."""
    return history.filter(pl.int_range(pl.len()).over("user_id") < most)


def learning_curve(
    dataset: Dataset, report: Path, cuts: list[Cut], references: Mapping[str, Predictions]
) -> LearningCurve:
    """Fit what is not in the cache. `references` pass through."""
    found: dict[str, list[Predictions]] = {}
    for cut in cuts:  # folding in shows its own progress
        found.setdefault(cut.trial.experiment.method, []).append(_of(dataset, report, cut).test)
    predictions = {
        method: {items: np.stack([one[place] for one in seeds]) for place, items in enumerate(CURVE_ITEMS)}
        for method, seeds in found.items()
    }
    return LearningCurve(CURVE_ITEMS, predictions, references)


def _of(dataset: Dataset, report: Path, cut: Cut) -> Stored:
    """Predictions test float32 [cuts, n_test] of one fit."""
    key = cut.key(dataset.split_hash)
    stored = cache.read(report / "cells", key)
    if stored is not None:
        return stored
    begun = time.perf_counter()
    # The codes are those of seed 0, whatever the recommender's seed.
    whole = codes_of(dataset, report, replace(cut.trial, seed=0))
    settings = cut.trial.settings.model_copy(update={"codes": "profile"})
    fitted = fit_recommender(dataset, whole, settings, cut.trial.seed)
    assert whole is not None
    assert cut.trial.profiles is not None
    pairs = dataset.test_pairs()
    tables = _cut_tables(dataset, report, cut, whole, cut.trial.profiles)
    lines = [replace(fitted, codes=table).predict(pairs) for table in tables]
    stored = Stored(fitted.predict(dataset.rows("valid")), np.stack(lines), time.perf_counter() - begun)
    cache.write(report / "cells", key, stored)
    return stored


def _cut_tables(dataset: Dataset, report: Path, cut: Cut, whole: CodeTable, profiles: Profiles) -> Iterator[CodeTable]:
    """Tables of codes in which held-out users have those of their first rows, for every number of rows."""
    method, frozen = cut.trial.experiment.method, None
    for most in cut.items:
        content = {"split": dataset.split_hash, "first": most, "method": method}
        content |= control_content(profiles) if method in CONTROLS else {"codes": profiles.mark}
        file = report / "cells" / "codes" / f"{key_of(content)}.parquet"
        if not file.is_file():
            if method in CONTROLS:
                few = FirstRows.of(dataset, most)
                shape = control_content(profiles)
                made = CONTROLS[method](few, profiles.sizes, shape["folds"], profiles.seed, 0).frame
            else:
                frozen = frozen or FoldIn.open(profiles.run, profiles.config, profiles.seed)
                folded = frozen.codes(first_rows(dataset.rows("history"), most))
                made = folded.with_columns(pl.col(*whole.sizes).fill_null(UNKNOWN_CODE))
            held = dataset.rows("history").select("user_id").unique()
            cache.write_frame(file, made.join(held, on="user_id", how="semi").select("user_id", *whole.sizes))
        yield replace(whole, frame=_with(whole.frame, pl.read_parquet(file)))


def _with(frame: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """The table with other codes of held-out users."""
    kept = frame.join(held, on="user_id", how="anti")
    lines = held.select("user_id", pl.lit(FULL, pl.Int8).alias("fold"), *(c for c in frame.columns[2:]))
    return pl.concat([kept, lines.cast(dict(kept.schema))]).sort("user_id", "fold")  # type: ignore[arg-type]
