"""Confidence intervals of a difference between two methods: bootstrap over users and seeds; and agreement of codes.

Rows of one user belong together, so whole users are drawn with replacement; every method is judged on the same draws
(paired). Seeds are drawn with replacement too, since a claim about a method has to hold for the next seed as well:
users and seeds are crossed, drawn independently of each other (the pigeonhole bootstrap, Owen 2007, whose
intervals are rather too wide); with one seed only users are drawn. Intervals are percentiles, 95 %.

Predictions are float [S, n] (seeds by rows) or [n], labels bool or 0/1 [n], users [n] of any kind that sorts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import adjusted_rand_score

from userip.bank.record import UNKNOWN_CODE
from userip.reporting.blocks import Estimate
from userip.training.crossfit.views import FULL
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.metrics import Measure, auc, within_users

Floats = NDArray[np.float64]
LEVEL: Final = 0.95
BLOCK: Final = 1 << 17  # weights that are worked on at once: what a core's cache holds


@dataclass(frozen=True)
class Difference(Estimate):
    """A figure with its 95 % interval. NaN bounds: the data do not determine it.

    mean      over seeds, on all rows
    low, high percentiles of the mean over seeds, users and seeds redrawn
    per_seed  the figure of each seed, on all rows
    """

    per_seed: tuple[float, ...]

    @property
    def above(self) -> int:
        """In how many seeds the figure is above zero."""
        return sum(value > 0 for value in self.per_seed)


@dataclass(frozen=True, eq=False)
class Figures:
    """A measure of one method: of all rows float64 [S], and of every resample of users float64 [S, R]."""

    whole: Floats
    resampled: Floats


class Bootstrap:
    """Draws of users and seeds that every method is judged on. The same arguments give the same draws.

    A method's `Figures` are computed once and compared as often as wanted. Raises ValueError for users and labels
    of different length, or none.
    """

    def __init__(self, users: ArrayLike, labels: ArrayLike, resamples: int = 1000, seed: int = 0) -> None:
        self.labels = np.asarray(labels, dtype=bool)
        names, self.user = np.unique(np.asarray(users), return_inverse=True)
        if len(self.user) != len(self.labels) or not len(self.labels):
            raise ValueError(f"{len(self.user)} users for {len(self.labels)} labels: one of each per row, and some")
        self.seed = seed
        # uint16 [R, U]: how often each user was drawn. One user drawn again is the same user: no draw, no interval.
        self.drawn = _draws(np.random.default_rng([seed, 0]), resamples if len(names) > 1 else 0, len(names))

    def figures(self, predictions: ArrayLike, measure: Measure = "auc") -> Figures:
        """The measure of predictions [S, n]. Raises ValueError for another number of rows."""
        scores = np.atleast_2d(np.asarray(predictions, dtype=np.float64))
        if scores.shape[1] != len(self.labels):
            raise ValueError(f"{scores.shape[1]} predictions for {len(self.labels)} rows")
        found = [self._auc(one) if measure == "auc" else self._within(one, measure) for one in scores]
        return Figures(np.array([whole for whole, _ in found]), np.stack([drawn for _, drawn in found]))

    def _auc(self, scores: Floats) -> tuple[float, Floats]:
        return auc(self.labels, scores), _weighted_auc(self.labels, scores, self.drawn, self.user)

    def _within(self, scores: Floats, measure: Measure) -> tuple[float, Floats]:
        """The mean over users of what is computed within each: a user drawn twice counts twice."""
        found = within_users(self.user, self.labels, scores)
        value, weight = found.weighted(measure)
        result = np.full(len(self.drawn), np.nan)
        lines = max(1, BLOCK // max(len(value), 1))
        for start in range(0, len(result), lines):
            block = self.drawn[start : start + lines, found.user] * weight
            total = block.sum(axis=1)
            np.divide(block @ value, total, out=result[start : start + lines], where=total > 0)
        return found.mean(measure), result

    def difference(self, mine: Figures, other: Figures) -> Difference:
        """Mine minus other, seed by seed. One seed of one side stands against all seeds of the other."""
        return self._interval(mine.whole - other.whole, self._redraw(mine.resampled - other.resampled))

    def recovered(self, mine: Figures, unknown: Figures, retrained: Figures) -> Difference:
        """Share of the way from `unknown` to `retrained` that `mine` goes: 0 at the first, 1 at the second.

        Ratio of the two mean differences. Where more than 2.5 % of the resamples have no way to go (`retrained` not
        above `unknown`, in AUC), the ratio has no interval, and its bounds are NaN.
        """
        way = retrained.whole - unknown.whole
        gain = mine.whole - unknown.whole
        above = self._redraw(retrained.resampled - unknown.resampled)
        share = self._redraw(mine.resampled - unknown.resampled) / np.where(above == 0, np.nan, above)
        known = ~np.isnan(above)
        # The way may go either up or down, but in a resample it has to go as the whole does.
        turned = np.sign(above[known]) != np.sign(way.mean())
        if not known.any() or turned.mean() > (1 - LEVEL) / 2:
            share = np.full(1, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            per_seed = np.atleast_1d(gain / way)
            mean = float(np.mean(gain) / np.mean(way))
        return self._interval(per_seed, share, mean)

    def _redraw(self, values: Floats) -> Floats:
        """Means [R] over redrawn seeds of values [S, R]."""
        seeds, resamples = values.shape
        if seeds == 1:
            drawn = np.ones((resamples, 1), dtype=np.uint16)
        else:
            drawn = _draws(np.random.default_rng([self.seed, 1]), resamples, seeds)
        means: Floats = np.asarray(np.einsum("sr,rs->r", values, drawn) / seeds, dtype=np.float64)
        return means

    @staticmethod
    def _interval(per_seed: Floats, resampled: Floats, mean: float | None = None) -> Difference:
        known = resampled[~np.isnan(resampled)]  # a resample of one label has no AUC
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(known) else (np.nan, np.nan)
        middle = float(np.mean(per_seed)) if mean is None else mean
        return Difference(middle, float(low), float(high), tuple(float(value) for value in per_seed))


def code_agreement(tables: Sequence[CodeTable]) -> dict[str, float]:
    """Adjusted Rand index of each facet's codes (whole histories), averaged over pairs of tables.

    1 where two seeds group users alike, whatever they call the groups; 0 in the mean by chance. Users without a code
    in either table are left out. Raises ValueError for fewer than two tables or different facets.
    """
    if len(tables) < 2 or any(list(table.sizes) != list(tables[0].sizes) for table in tables):
        raise ValueError("agreement is between two or more tables of the same facets")
    found: dict[str, list[float]] = {name: [] for name in tables[0].sizes}
    for one, two in combinations(tables, 2):
        whole = [table.frame.filter(pl.col("fold") == FULL).drop("fold") for table in (one, two)]
        both = whole[0].join(whole[1], on="user_id", suffix=".other")
        for name, values in found.items():
            pair = both.select(a=pl.col(name), b=pl.col(f"{name}.other"))
            pair = pair.filter((pl.col("a") != UNKNOWN_CODE) & (pl.col("b") != UNKNOWN_CODE))
            values.append(float(adjusted_rand_score(pair["a"].to_numpy(), pair["b"].to_numpy())))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _draws(rng: np.random.Generator, resamples: int, n: int) -> NDArray[np.uint16]:
    """How often each of n was drawn in n draws with replacement, uint16 [R, n]."""
    drawn = np.empty((resamples, n), dtype=np.uint16)
    for line in drawn:
        line[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    return drawn


def _weighted_auc(
    labels: NDArray[np.bool_], scores: NDArray[np.generic], weights: NDArray[np.generic], column: NDArray[np.intp]
) -> Floats:
    """AUC [R], row i weighing weights[:, column[i]]: one sort, then sums along it.

    (sum over positives of weight x (weight of the negatives below + half of those at the same score)) / (P N)
    """
    order = np.argsort(scores, kind="stable")
    labels, scores, column = labels[order], scores[order], column[order]
    positive, negative = column[labels], column[~labels]
    below = np.searchsorted(scores[~labels], scores[labels], side="left")
    up_to = np.searchsorted(scores[~labels], scores[labels], side="right")
    tied = bool((below != up_to).any())
    result = np.full(len(weights), np.nan)
    if not len(positive) or not len(negative):
        return result
    lines = max(1, BLOCK // len(labels))
    for start in range(0, len(weights), lines):
        block = np.ascontiguousarray(weights[start : start + lines], dtype=np.float64)
        sums = np.zeros((len(block), len(negative) + 1))  # weight of the first k negatives
        np.cumsum(np.take(block, negative, axis=1, mode="clip"), axis=1, out=sums[:, 1:])
        mine = np.take(block, positive, axis=1, mode="clip")
        won = np.einsum("rp,rp->r", mine, np.take(sums, below, axis=1, mode="clip"))
        if tied:
            won = (won + np.einsum("rp,rp->r", mine, np.take(sums, up_to, axis=1, mode="clip"))) / 2
        pairs = mine.sum(axis=1) * sums[:, -1]
        np.divide(won, pairs, out=result[start : start + lines], where=pairs > 0)
    return result
