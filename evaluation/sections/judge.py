"""What every section asks of the predictions: figures of a method, and paired differences between two.

A `Line` is one method in all its seeds. Two lines are compared in the seeds that both have; a line of one seed stands
against all seeds of the other. Choices between methods are made by `valid_auc` alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.evaluation.intervals import Bootstrap, Difference, Figures, Metric
from userip.evaluation.results import Results, Scored, Section
from userip.training.recommender.metrics import auc, evaluate

UNDETERMINED: Final = Difference(float("nan"), float("nan"), float("nan"), ())


@dataclass(frozen=True, eq=False)
class Line:
    """The cells of one (section, method, recommender, variant), one per seed, seeds ascending."""

    section: Section
    method: str
    recommender: str
    variant: str
    scored: tuple[Scored, ...]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from other lines."""
        return (self.section, self.method, self.recommender, self.variant)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Its seeds, ascending."""
        return tuple(one.result.seed for one in self.scored)

    @property
    def seconds(self) -> float:
        """Mean seconds of a fit."""
        return float(np.mean([one.seconds for one in self.scored]))


class Judge:
    """Figures of `results`, each computed once. `resamples`: draws behind every interval; the same ones for all."""

    def __init__(self, results: Results, resamples: int = 1000, seed: int = 0) -> None:
        self.results = results
        self.labels = results.test["label"].to_numpy()
        self.users = results.test["user_id"].to_numpy()
        self.bootstrap = Bootstrap(self.users, self.labels, resamples, seed)
        self._resamples, self._seed = resamples, seed
        self._figures: dict[tuple[tuple[str, str, str, str], Metric], Figures] = {}
        self._valid: dict[tuple[str, str, str, str], float] = {}
        self._measures: dict[tuple[str, str, str, str], dict[str, float]] = {}

    def lines(self, section: Section, method: str | None = None, recommender: str | None = None) -> list[Line]:
        """The lines of a section, and of a method and a recommender where given, in the plan's order."""
        return [
            Line(section, *row, tuple(sorted(self.results.of(section, *row), key=lambda one: one.result.seed)))
            for row in self.results.rows_of(section)
            if method in (None, row[0]) and recommender in (None, row[1])
        ]

    def line(self, section: Section, method: str, recommender: str = "dcn", variant: str = "") -> Line | None:
        """The line, or None where none of its cells came out."""
        found = [one for one in self.lines(section, method, recommender) if one.variant == variant]
        return found[0] if found else None

    def figures(self, line: Line, metric: Metric = "auc") -> Figures:
        """Of the test rows, whole and resampled."""
        key = (line.key, metric)
        if key not in self._figures:
            self._figures[key] = self.bootstrap.figures(np.stack([one.test for one in line.scored]), metric)
        return self._figures[key]

    def measures(self, line: Line) -> dict[str, float]:
        """auc, logloss, gauc, ece of the test rows: means over seeds."""
        if line.key not in self._measures:
            found = [evaluate(self.users, self.labels, one.test) for one in line.scored]
            self._measures[line.key] = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        return self._measures[line.key]

    def valid_auc(self, line: Line) -> float:
        """Mean over seeds of the AUC of the validation rows: what choices are made by."""
        if line.key not in self._valid:
            labels = self.results.valid["label"].to_numpy()
            self._valid[line.key] = float(np.mean([auc(labels, one.valid) for one in line.scored]))
        return self._valid[line.key]

    def best(self, lines: Sequence[Line]) -> Line | None:
        """The best by validation; None of none. A line without a validation AUC is not chosen before one that has."""
        return max(lines, key=lambda one: np.nan_to_num(self.valid_auc(one), nan=-1.0)) if lines else None

    def difference(self, mine: Line, other: Line, metric: Metric = "auc") -> Difference:
        """Mine minus other, paired by seed; undetermined (NaN) where they have no seed in common."""
        picked = _pair([mine, other], [self.figures(one, metric) for one in (mine, other)])
        return self.bootstrap.difference(*picked) if picked else UNDETERMINED

    def recovered(self, mine: Line, unknown: Line, retrained: Line) -> Difference:
        """Share of the way in AUC from `unknown` to `retrained` that `mine` goes."""
        lines = [mine, unknown, retrained]
        picked = _pair(lines, [self.figures(one) for one in lines])
        return self.bootstrap.recovered(*picked) if picked else UNDETERMINED

    def among(self, rows: NDArray[np.bool_], mine: Line, other: Line) -> Difference:
        """The difference of AUC among the test rows where `rows` bool [n] is true."""
        if not rows.any():
            return UNDETERMINED
        part = Bootstrap(self.users[rows], self.labels[rows], self._resamples, self._seed)
        tests = [np.stack([one.test[rows] for one in line.scored]) for line in (mine, other)]
        picked = _pair([mine, other], [part.figures(one) for one in tests])
        return part.difference(*picked) if picked else UNDETERMINED

    def rows_per_user(self) -> NDArray[np.int64]:
        """Train and history rows of the user of every test row, int64 [n]; 0 for users without."""
        known = self.results.activity.select("user_id", pl.col("rows").cast(pl.Int64))
        joined = self.results.test.select("user_id").join(known, on="user_id", how="left", maintain_order="left")
        counts: NDArray[np.int64] = joined["rows"].fill_null(0).to_numpy().astype(np.int64)
        return counts


def _pair(lines: Sequence[Line], figures: Sequence[Figures]) -> list[Figures]:
    """The figures in the seeds that all lines of several seeds have, in one order; [] where there are none."""
    several = [set(line.seeds) for line in lines if len(line.seeds) > 1]
    common = sorted(set.intersection(*several)) if several else []
    if several and not common:
        return []
    picked = []
    for line, one in zip(lines, figures, strict=True):
        at = [line.seeds.index(seed) for seed in common] if len(line.seeds) > 1 else [0]
        picked.append(Figures(one.whole[at], one.resampled[at]))
    return picked
