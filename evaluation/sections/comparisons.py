"""What every section asks of the predictions: figures of a method, and paired differences between two.

A `Row` is one method in all its seeds. Two rows are compared in the seeds that both have; a row of one seed stands
against all seeds of the other. Choices between methods are made by `valid_auc` alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.evaluation.intervals import Bootstrap, Difference, Figures
from userip.evaluation.results import Results, Scored, Section
from userip.training.recommender.metrics import Measure, auc, evaluate

Key = tuple[str, str, str, str]
UNDETERMINED: Final = Difference(float("nan"), float("nan"), float("nan"), ())


@dataclass(frozen=True, eq=False)
class Row:
    """The results of one (section, method, recommender, variant), one per seed, seeds ascending."""

    section: Section
    method: str
    recommender: str
    variant: str
    scored: tuple[Scored, ...]

    @property
    def key(self) -> Key:
        """What tells it from other rows."""
        return (self.section, self.method, self.recommender, self.variant)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Its seeds, ascending."""
        return tuple(one.result.seed for one in self.scored)

    @property
    def seconds(self) -> float:
        """Mean seconds of a fit."""
        return float(np.mean([one.seconds for one in self.scored]))


class Comparisons:
    """Figures of `results`, each computed once. `resamples`: draws behind every interval; the same ones for all."""

    def __init__(self, results: Results, resamples: int = 1000, seed: int = 0) -> None:
        self.results = results
        self.labels = results.test["label"].to_numpy()
        self.users = results.test["user_id"].to_numpy()
        self.bootstrap = Bootstrap(self.users, self.labels, resamples, seed)
        self._resamples, self._seed = resamples, seed
        self._figures: dict[tuple[Key, Measure], Figures] = {}
        self._valid: dict[Key, float] = {}
        self._measures: dict[Key, dict[str, float]] = {}

    def rows(self, section: Section, method: str | None = None, recommender: str | None = None) -> list[Row]:
        """The rows of a section, and of a method and a recommender where given, in the plan's order."""
        return [
            Row(section, *row, tuple(sorted(self.results.of(section, *row), key=lambda one: one.result.seed)))
            for row in self.results.rows_of(section)
            if method in (None, row[0]) and recommender in (None, row[1])
        ]

    def row(self, section: Section, method: str, recommender: str = "dcn", variant: str = "") -> Row | None:
        """The row, or None where none of its results came out."""
        found = [one for one in self.rows(section, method, recommender) if one.variant == variant]
        return found[0] if found else None

    def figures(self, row: Row, measure: Measure = "auc") -> Figures:
        """The measure of the test rows, whole and resampled."""
        if (row.key, measure) not in self._figures:
            predictions = np.stack([one.test for one in row.scored])
            self._figures[row.key, measure] = self.bootstrap.figures(predictions, measure)
        return self._figures[row.key, measure]

    def measures(self, row: Row) -> dict[str, float]:
        """What `evaluate` gives of the test rows: means over seeds."""
        if row.key not in self._measures:
            found = [evaluate(self.users, self.labels, one.test) for one in row.scored]
            self._measures[row.key] = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        return self._measures[row.key]

    def valid_auc(self, row: Row) -> float:
        """Mean over seeds of the AUC of the validation rows: what choices are made by."""
        if row.key not in self._valid:
            labels = self.results.valid["label"].to_numpy()
            self._valid[row.key] = float(np.mean([auc(labels, one.valid) for one in row.scored]))
        return self._valid[row.key]

    def best(self, rows: Sequence[Row]) -> Row | None:
        """The best by validation; None of none. A row without a validation AUC is not chosen before one that has."""
        return max(rows, key=lambda one: np.nan_to_num(self.valid_auc(one), nan=-1.0)) if rows else None

    def difference(self, mine: Row, other: Row, measure: Measure = "auc") -> Difference:
        """The measure of mine minus other, paired by seed; undetermined (NaN) where they have no seed in common."""
        picked = _pair([mine, other], [self.figures(one, measure) for one in (mine, other)])
        return self.bootstrap.difference(*picked) if picked else UNDETERMINED

    def recovered(self, mine: Row, unknown: Row, retrained: Row) -> Difference:
        """Share of the way in AUC from `unknown` to `retrained` that `mine` goes."""
        rows = [mine, unknown, retrained]
        picked = _pair(rows, [self.figures(one) for one in rows])
        return self.bootstrap.recovered(*picked) if picked else UNDETERMINED

    def among(self, rows: NDArray[np.bool_], mine: Row, other: Row) -> Difference:
        """The difference of AUC among the test rows where `rows` bool [n] is true."""
        if not rows.any():
            return UNDETERMINED
        part = Bootstrap(self.users[rows], self.labels[rows], self._resamples, self._seed)
        tests = [np.stack([one.test[rows] for one in row.scored]) for row in (mine, other)]
        picked = _pair([mine, other], [part.figures(one) for one in tests])
        return part.difference(*picked) if picked else UNDETERMINED

    def activity(self) -> NDArray[np.int64]:
        """Train and history rows of the user of every test row, int64 [n]; 0 for users without."""
        known = self.results.activity.select("user_id", pl.col("rows").cast(pl.Int64))
        joined = self.results.test.select("user_id").join(known, on="user_id", how="left", maintain_order="left")
        counts: NDArray[np.int64] = joined["rows"].fill_null(0).to_numpy().astype(np.int64)
        return counts


def _pair(rows: Sequence[Row], figures: Sequence[Figures]) -> list[Figures]:
    """The figures in the seeds that all rows of several seeds have, in one order; [] where there are none."""
    several = [set(row.seeds) for row in rows if len(row.seeds) > 1]
    common = sorted(set.intersection(*several)) if several else []
    if several and not common:
        return []
    picked = []
    for row, one in zip(rows, figures, strict=True):
        at = [row.seeds.index(seed) for seed in common] if len(row.seeds) > 1 else [0]
        picked.append(Figures(one.whole[at], one.resampled[at]))
    return picked
