"""Intervals against scikit-learn, against draws of users done by hand, and on planted differences."""

import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from userip.evaluation.intervals import Bootstrap, Difference, Figures, code_agreement
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.metrics import Measure, evaluate

Floats = NDArray[np.float64]
ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=50)


@given(ROWS)
def test_resamples_are_scikit_learns_with_ties(rows: list[tuple[bool, int, int]]) -> None:
    """Scores of six values, rows weighted by how often their user was drawn; NaN where one class has no weight."""
    labels, scores, users = (np.array(column) for column in zip(*rows, strict=True))
    bootstrap = Bootstrap(users, labels, resamples=5)
    found = bootstrap.figures(scores / 5).resampled[0]
    for auc, drawn in zip(found, bootstrap.drawn, strict=True):
        weight = drawn[bootstrap.user]
        if len(set(labels[weight > 0])) < 2:
            assert math.isnan(auc)
        else:
            assert auc == pytest.approx(roc_auc_score(labels, scores, sample_weight=weight), abs=1e-12)


def test_more_resamples_than_are_worked_on_at_once() -> None:
    """Blocks of resamples: the first, the last and those between."""
    rng = np.random.default_rng(0)
    labels, scores = rng.random(3000) < 0.3, rng.random(3000)
    bootstrap = Bootstrap(np.arange(3000), labels, resamples=150)
    found = bootstrap.figures(scores).resampled[0]
    assert found.shape == (150,)
    for line in (0, 40, 90, 149):
        wanted = roc_auc_score(labels, scores, sample_weight=bootstrap.drawn[line])
        assert found[line] == pytest.approx(wanted, abs=1e-12)


def _paired(
    labels: ArrayLike, users: ArrayLike, mine: ArrayLike, other: ArrayLike, resamples: int = 1000, seed: int = 0
) -> Difference:
    """Mine minus other for predictions [S, n] of the same rows."""
    bootstrap = Bootstrap(users, labels, resamples, seed)
    return bootstrap.difference(bootstrap.figures(mine), bootstrap.figures(other))


def _planted(users: int = 300, per_user: int = 12, seeds: int = 4, tilt: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """users [n], labels [n], probabilities [S, n] that know the truth; users differ, `tilt` spoils the scores."""
    rng = np.random.default_rng(5)
    user = np.repeat(np.arange(users), per_user)
    logit = rng.normal(size=users)[user] + rng.normal(size=len(user))
    labels = rng.random(len(user)) < 1 / (1 + np.exp(-logit))
    spoilt = logit + tilt * np.random.default_rng(6).normal(size=(seeds, len(user)))
    return user.astype(np.float64), labels.astype(np.float64), 1 / (1 + np.exp(-spoilt))


def test_resamples_are_the_auc_of_users_drawn_with_replacement() -> None:
    """Rows of a user drawn k times stand k times in the resample; as many users are drawn as there are."""
    users, labels, scores = _planted(users=20, per_user=6, tilt=0.5)
    bootstrap = Bootstrap(users, labels, resamples=8, seed=3)
    assert (bootstrap.drawn.sum(axis=1) == 20).all()
    assert len(np.unique(bootstrap.drawn, axis=0)) == 8
    found = bootstrap.figures(scores)
    for r, drawn in enumerate(bootstrap.drawn):
        rows = np.concatenate([np.flatnonzero(users == u) for u in range(20) for _ in range(drawn[u])])
        for s in range(len(scores)):
            assert found.resampled[s, r] == pytest.approx(roc_auc_score(labels[rows], scores[s, rows]), abs=1e-12)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Normal scores, positives one higher, against noise: about 95 % of 200 intervals hold the true difference."""
    rng, covered = np.random.default_rng(1), 0
    truth = norm.cdf(0.5**0.5) - 0.5
    for trial in range(200):
        labels = np.arange(160) % 2
        mine, other = rng.normal(size=160) + labels, rng.normal(size=160)
        found = _paired(labels, np.arange(160) // 4, mine, other, 200, trial)
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / 200 <= 0.985


def test_a_planted_difference_is_found_with_its_sign() -> None:
    """The truth against the truth with noise: better in every seed, the interval excludes zero and holds the mean."""
    users, labels, good = _planted()
    bad = _planted(tilt=1.0)[2]
    found = _paired(labels, users, good, bad, 400, 0)
    each = [roc_auc_score(labels, g) - roc_auc_score(labels, b) for g, b in zip(good, bad, strict=True)]
    assert found.per_seed == pytest.approx(each, abs=1e-12)
    assert found.mean == pytest.approx(np.mean(each), abs=1e-12)
    assert 0 < found.low < found.mean < found.high
    assert found.above == 4


def test_rows_of_a_user_stay_together() -> None:
    """Users whose rows all agree leave less to know than as many lone rows: the interval is wider."""
    rng = np.random.default_rng(2)
    users = np.repeat(np.arange(60), 25)
    labels = rng.random(1500) < 0.5
    sharp = np.repeat(rng.random(60) < 0.5, 25)  # for half of the users mine is right and other is wrong
    mine = np.where(labels == sharp, 0.8, 0.2)
    other = np.full(1500, 0.5) + 0.01 * labels * sharp
    together = _paired(labels, users, mine, other, 300)
    apart = _paired(labels, np.arange(1500), mine, other, 300)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_identical_predictions_differ_by_exactly_nothing() -> None:
    """Zero, without rounding, and no seed on either side."""
    users, labels, scores = _planted(tilt=0.3)
    found = _paired(labels, users, scores, scores.copy(), 200)
    assert (found.mean, found.low, found.high, found.above) == (0.0, 0.0, 0.0, 0)


def test_seeds_that_disagree_widen_the_interval() -> None:
    """The same users and mean: seeds at -.1, 0, .1 leave more doubt than three seeds at 0."""
    rng = np.random.default_rng(3)
    bootstrap = Bootstrap(np.arange(10), np.arange(10) % 2, resamples=2000)
    noise = 0.001 * rng.normal(size=2000)
    nothing = Figures(np.zeros(3), np.zeros((3, 2000)))
    alike = Figures(np.zeros(3), np.stack([noise] * 3))
    spread = np.array([-0.1, 0.0, 0.1])
    apart = Figures(spread, spread[:, None] + noise)
    narrow, wide = bootstrap.difference(alike, nothing), bootstrap.difference(apart, nothing)
    # three draws of three values: the mean has standard deviation sqrt(2/3) x .1 / sqrt(3) = .0471
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * 0.0471, rel=0.2)
    assert narrow.high - narrow.low == pytest.approx(2 * 1.96 * 0.001, rel=0.2)


def test_one_prediction_stands_against_every_seed() -> None:
    """A method without seeds (the constant rate) is compared with each seed of another."""
    users, labels, scores = _planted(tilt=0.3)
    found = _paired(labels, users, scores, np.full(len(labels), 0.5), 100)
    assert found.per_seed == pytest.approx([roc_auc_score(labels, s) - 0.5 for s in scores])


def test_recovered_is_the_share_of_the_way() -> None:
    """Figures planted at .70, .79 and .80: nine tenths, with the interval that the ratio's own draws have."""
    rng = np.random.default_rng(4)
    bootstrap = Bootstrap(np.arange(4), [0, 1, 0, 1], resamples=4000)

    def at(value: float, spread: float) -> Figures:
        return Figures(np.full(2, value), value + spread * rng.normal(size=(1, 4000)).repeat(2, axis=0))

    found = bootstrap.recovered(at(0.79, 0.002), at(0.70, 0.0), at(0.80, 0.0))
    assert found.mean == pytest.approx(0.9)
    assert found.per_seed == pytest.approx((0.9, 0.9))
    assert (found.low, found.high) == pytest.approx((0.9 - 1.96 * 0.02, 0.9 + 1.96 * 0.02), abs=0.003)
    falls = bootstrap.recovered(at(0.45, 0.0), at(0.50, 0.0), at(0.40, 0.0))  # a way down
    assert (falls.mean, falls.low, falls.high) == pytest.approx((0.5, 0.5, 0.5))


def test_no_share_of_a_way_that_may_not_exist() -> None:
    """Retraining that may as well do harm gives no interval, instead of one of any width."""
    rng = np.random.default_rng(4)
    bootstrap = Bootstrap(np.arange(4), [0, 1, 0, 1], resamples=1000)
    still = Figures(np.full(1, 0.7), np.full((1, 1000), 0.7))
    retrained = Figures(np.full(1, 0.701), 0.701 + 0.01 * rng.normal(size=(1, 1000)))
    found = bootstrap.recovered(still, still, retrained)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_same_seed_gives_the_same_interval() -> None:
    """And another one another."""
    users, labels, good = _planted()
    bad = _planted(tilt=1.0)[2]
    first, again, other = (_paired(labels, users, good, bad, 50, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_rows_that_do_not_fit_are_refused() -> None:
    """Users, labels and predictions are of the same rows."""
    with pytest.raises(ValueError, match="2 users for 3 labels"):
        Bootstrap([1, 2], [0, 1, 1])
    bootstrap = Bootstrap([1, 2, 3], [0, 1, 1], 10)
    with pytest.raises(ValueError, match="4 predictions for 3 rows"):
        bootstrap.figures(np.zeros((2, 4)))


def _table(codes: list[int], names: list[str] | None = None) -> CodeTable:
    users = names or [f"u{k}" for k in range(len(codes))]
    kinds = {"user_id": pl.String, "fold": pl.Int8, "hobby": pl.UInt16}
    lines = [(user, fold, code if fold < 0 else 0) for user, code in zip(users, codes, strict=True) for fold in (-1, 0)]
    return CodeTable(pl.DataFrame(lines, schema=kinds, orient="row"), {"hobby": 4})


def test_codes_agree_whatever_they_are_called() -> None:
    """Renamed groups agree fully; unknown codes, users of one table only, and other folds do not count."""
    codes = [0, 1, 2, 3] * 10
    assert code_agreement([_table(codes), _table([(code + 1) % 4 for code in codes])]) == {"hobby": 1.0}
    holes = [65535, *codes[1:]]
    assert code_agreement([_table(holes), _table(codes)]) == {"hobby": 1.0}
    fewer = [f"u{k}" for k in range(2, 40)]
    assert code_agreement([_table(codes[2:], fewer), _table(codes)]) == {"hobby": 1.0}


def test_agreement_is_the_mean_over_pairs() -> None:
    """Hand count: {ab|cd} and {ac|bd} agree by -.5 (2 x 2 table of ones), a table with itself by 1."""
    one, two = _table([0, 0, 1, 1]), _table([0, 1, 0, 1])
    assert code_agreement([one, two])["hobby"] == pytest.approx(-0.5)
    assert code_agreement([one, two, one])["hobby"] == pytest.approx((-0.5 - 0.5 + 1) / 3)
    with pytest.raises(ValueError, match="two or more"):
        code_agreement([one])


def test_more_users_make_the_interval_narrower() -> None:
    """Four times the users, about half the width."""
    widths = []
    for users in (100, 400, 1600):
        user, labels, good = _planted(users=users, seeds=1)
        found = _paired(labels, user, good, _planted(users=users, seeds=1, tilt=1.0)[2], 300)
        widths.append(found.high - found.low)
    for wide, narrow in pairwise(widths):
        assert 1.5 < wide / narrow < 2.7


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_user_has_no_interval(seeds: int) -> None:
    """Whoever has one user knows nothing of the next: the difference has no bounds."""
    users, labels, scores = _planted(users=1, per_user=30, seeds=seeds, tilt=1.0)
    found = _paired(labels, users, scores, np.full_like(scores, 0.5), resamples=50)
    assert found.mean != 0
    assert len(found.per_seed) == seeds
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("measure", ["gauc", "ndcg_5", "ndcg_10"])
def test_measures_within_users_are_resampled_by_whole_users(measure: Measure) -> None:
    """Every resample is what the plain measure says of the drawn users' rows, a user drawn twice being two users."""
    rng = np.random.default_rng(0)
    users = np.repeat([f"u{n}" for n in range(12)], rng.integers(2, 9, 12))
    labels, scores = rng.random(len(users)) < 0.5, rng.integers(0, 5, len(users)) / 5
    bootstrap = Bootstrap(users, labels, resamples=40)
    found = bootstrap.figures(scores, measure)
    assert found.whole[0] == pytest.approx(evaluate(users, labels, scores)[measure])
    for value, drawn in zip(found.resampled[0], bootstrap.drawn, strict=True):
        rows = [(f"{user}, {copy}", row) for row, user in enumerate(bootstrap.user) for copy in range(drawn[user])]
        at = [row for _, row in rows]
        wanted = evaluate([name for name, _ in rows], labels[at], scores[at])[measure]
        assert value == pytest.approx(wanted, nan_ok=True)
