"""How users judge, against scipy's optimum of the written-out likelihood, hand computations and planted users."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.stats import spearmanr

from tests.training.tiny_language import histories, random_histories
from userip.training.crossfit.histories import Histories
from userip.training.judging.judgements import Judgements

Floats = NDArray[np.float64]


def _chance(x: Floats) -> Floats:
    chance: Floats = 1 / (1 + np.exp(-x))
    return chance


def _rated(some: Histories, rating: list[float]) -> Histories:
    return replace(some, rating=np.array(rating, np.float32))


def _generosity(judgements: Judgements, some: Histories) -> Floats:
    """The first scale."""
    return judgements.scales(some)[0]


def _penalised(point: Floats, some: Histories, items: int, centre: float) -> float:
    """- log P(likes, c, b) of the Rasch model, interaction by interaction: point is [c_u ..., b_i ...]."""
    c, b = point[: len(some)], point[len(some) :]
    total = float((c**2).sum() / 2 + ((b - centre) ** 2).sum() / 2)
    for user, item, liked in zip(some.owner.tolist(), some.items.tolist(), some.liked.tolist(), strict=True):
        logit = b[item] + c[user]
        total += float(np.logaddexp(0, -logit if liked else logit))
    assert len(b) == items
    return total


@pytest.mark.parametrize("seed", range(3))
def test_fit_is_the_optimum_of_users_and_items_together(seed: int) -> None:
    """Alternating ends near the joint mode that scipy finds, far nearer than where it began."""
    train = random_histories(14, 9, seed)
    judgements = Judgements.fit(train, 12)
    centre = float(np.log(train.liked.mean() / (1 - train.liked.mean())))
    begin = np.concatenate([np.zeros(14), np.full(12, centre)])
    best = minimize(_penalised, begin, args=(train, 12, centre), method="L-BFGS-B", options={"ftol": 1e-14})
    found = np.concatenate([_generosity(judgements, train), judgements.ease])
    assert np.abs(best.x - begin).max() > 0.4
    assert found == pytest.approx(best.x, abs=0.02)
    assert _penalised(found, train, 12, centre) == pytest.approx(best.fun, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_generosity_is_the_posterior_mode_given_the_items(seed: int) -> None:
    """Where the slope of the log-posterior is zero, by bisection, also for users who were not in training."""
    draw = np.random.default_rng(seed)
    judgements = Judgements(draw.normal(0.5, 1.5, 12), None)
    some = random_histories(40, 12, seed + 10)
    got = _generosity(judgements, some)
    for user in range(len(some)):
        mine = some.of(np.array([user]))
        ease, liked = judgements.ease[mine.items], float(mine.liked.sum())

        def slope(c: float, ease: Floats = ease, liked: float = liked) -> float:
            return liked - float(_chance(ease + c).sum()) - c

        assert got[user] == pytest.approx(brentq(slope, -30, 30, xtol=1e-12), abs=1e-7)


@pytest.mark.parametrize("liked", [True, False])
@pytest.mark.parametrize("ease", [-5.0, 0.0, 5.0])
def test_newton_arrives_where_a_full_step_overshoots(ease: float, liked: bool) -> None:
    """A long history of one kind of judgement, on items that say the contrary or the same."""
    some = histories([0 if liked else ~0] * 60)
    mode = brentq(lambda c: 60 * liked - 60 / (1 + np.exp(-(ease + c))) - c, -30, 30, xtol=1e-12)
    assert _generosity(Judgements(np.array([ease]), None), some)[0] == pytest.approx(mode, abs=1e-3)


def test_warmth_by_hand() -> None:
    """(rating - what the item gets), summed over a user's ratings and divided by their number and 3."""
    judgements = Judgements(np.zeros(2), np.array([3.4, 2.6]))
    some = _rated(histories([0], [~1, 0], [0, 1, 0]), [4.0, 2.0, 3.4, 5.0, 5.0, 5.0])
    warmth = judgements.scales(some)[1]
    assert warmth.tolist() == pytest.approx([0.6 / 4, -0.6 / 5, (1.6 + 2.4 + 1.6) / 6])


def test_stars_solve_the_shrunk_two_way_mean() -> None:
    """m + b with (b, c) at the optimum of squares + 3 |b|^2 + 3 |c|^2, which one linear system gives."""
    draw = np.random.default_rng(4)
    train = random_histories(25, 9, seed=4)
    rating = draw.integers(1, 6, len(train.items)).astype(np.float64)
    train = _rated(train, rating.tolist())
    design = np.zeros((len(rating), 25 + 12))
    for row, (user, item) in enumerate(zip(train.owner.tolist(), train.items.tolist(), strict=True)):
        design[row, user] = design[row, 25 + item] = 1.0
    mean = float(rating.mean())
    solved = np.linalg.solve(design.T @ design + 3 * np.eye(37), design.T @ (rating - mean))
    judgements = Judgements.fit(train, 12)
    assert judgements.stars is not None
    assert judgements.stars == pytest.approx(mean + solved[25:], abs=2e-3)
    assert judgements.scales(train)[1] == pytest.approx(solved[:25], abs=2e-3)
    assert np.abs(solved).max() > 0.2


def test_missing_ratings_are_skipped() -> None:
    """Interactions without a rating count for generosity, and leave warmth as if they were not there."""
    whole = random_histories(20, 9, seed=5, shortest=2)
    draw = np.random.default_rng(5)
    rating = draw.integers(1, 6, len(whole.items)).astype(np.float32)
    known = draw.random(len(rating)) < 0.6
    holes = replace(whole, rating=np.where(known, rating, np.nan).astype(np.float32))
    bare = replace(whole, rating=rating).keep(known)
    got, without = Judgements.fit(holes, 12), Judgements.fit(bare, 12)
    assert got.stars is not None
    assert got.stars == pytest.approx(without.stars)
    assert got.scales(holes)[1] == pytest.approx(without.scales(bare)[1])
    assert got.ease.tolist() == Judgements.fit(replace(whole, rating=None), 12).ease.tolist()
    assert got.ease.tolist() != without.ease.tolist()


def test_users_without_history_stand_at_zero_on_both_scales() -> None:
    """Nothing known is neither warm nor cold; likes without ratings say nothing of warmth."""
    train = _rated(histories([0, 1], [~0, 1]), [5, 4, 1, 2])
    judgements = Judgements.fit(train, 2)
    generosity, warmth = judgements.scales(_rated(histories([], [0, ~1], []), [np.nan, np.nan]))
    assert generosity[[0, 2]].tolist() == [0.0, 0.0]
    assert generosity[1] != 0.0
    assert warmth.tolist() == [0.0, 0.0, 0.0]
    assert judgements.scales(histories([0, 1]))[1].tolist() == [0.0]  # histories with labels alone


def test_without_ratings_there_is_one_scale() -> None:
    """Labels alone, or ratings that are all missing: generosity and no warmth."""
    some = histories([0, ~1], [1])
    for train in (some, _rated(some, [np.nan] * 3)):
        judgements = Judgements.fit(train, 2)
        assert judgements.stars is None
        assert len(judgements.scales(some)) == 1
        assert len(judgements.scales(_rated(some, [5, 1, 3]))) == 1


@pytest.mark.parametrize("liked", [True, False])
def test_one_sided_judgements_stay_finite(liked: bool) -> None:
    """A data set in which everything is liked, or nothing, has large but finite log-odds, and nobody is outstanding.

    Each user agrees with all others: on the right side of 0 by less than one standard deviation of the prior.
    """
    train = histories(*[[n if liked else ~n for n in range(6)] for _ in range(50)])
    judgements = Judgements.fit(train, 7)
    found = _generosity(judgements, train)
    assert np.isfinite(judgements.ease).all()
    assert ((found > 0) == liked).all()
    assert (np.abs(found) < 1).all()
    assert (np.sign(judgements.ease) == (1 if liked else -1)).all()


def test_nothing_to_fit_to_is_no_error() -> None:
    """No user, or users without history: even odds for every item, one scale of zeros."""
    for train in (histories(), histories([], [])):
        judgements = Judgements.fit(train, 3)
        assert judgements.ease.tolist() == [0.0] * 3
        assert [scale.tolist() for scale in judgements.scales(train)] == [[0.0] * len(train)]


def test_an_item_that_nobody_judged_is_like_any() -> None:
    """Its ease is the log-odds of a like, its stars are the mean rating: the centres of the priors."""
    judgements = Judgements.fit(_rated(histories([0, 1], [0, ~1]), [5, 4, 3, 1]), 3)
    assert judgements.ease[2] == pytest.approx(np.log(3))
    assert judgements.stars is not None
    assert judgements.stars[2] == pytest.approx(13 / 4)


def _planted(seed: int) -> tuple[Histories, Histories, Floats]:
    """Train histories, histories of later users, and those users' planted generosity.

    A user meets good items (ease +2) or poor ones (ease -2), more of the one or the other as chance has it.
    """
    draw = np.random.default_rng(seed)
    ease = np.repeat([2.0, -2.0], 30) + draw.normal(0, 0.3, 60)
    generosity = draw.normal(0, 1, 500)
    lists = []
    for c in generosity:
        good = draw.random(30) < draw.random()
        items = np.unique(np.where(good, draw.integers(0, 30, 30), draw.integers(30, 60, 30)))
        liked = draw.random(len(items)) < _chance(ease[items] + c)
        lists.append([int(i) if y else ~int(i) for i, y in zip(items, liked, strict=True)])
    return histories(*lists[:300]), histories(*lists[300:]), generosity[300:]


@pytest.mark.parametrize("seed", range(3))
def test_planted_generosity_is_found_where_the_share_of_likes_misleads(seed: int) -> None:
    """Users who met poor items like less without being harsher: the model sees that, the raw share does not."""
    train, later, planted = _planted(seed)
    found = _generosity(Judgements.fit(train, 60), later)
    share = np.bincount(later.owner, weights=later.liked, minlength=len(later)) / later.lengths
    by_model, by_share = (float(spearmanr(planted, values).statistic) for values in (found, share))
    assert by_model > 0.75
    assert by_model > by_share + 0.15


def test_planted_warmth_is_found_where_the_mean_rating_misleads() -> None:
    """The same for ratings: stars of users who met good items are high, whoever gives them."""
    train, later, _ = _planted(3)
    draw = np.random.default_rng(3)
    warmth = draw.normal(0, 0.5, len(train) + len(later))
    whole = train.then(later)
    quality = np.repeat([4.0, 2.5], 30)[whole.items]
    rating = (quality + warmth[whole.owner] + draw.normal(0, 0.5, len(quality))).astype(np.float32)
    whole = replace(whole, rating=rating)
    known, new = whole.of(np.arange(300)), whole.of(np.arange(300, 500))
    found = Judgements.fit(known, 60).scales(new)[1]
    assert new.rating is not None
    mean = np.bincount(new.owner, weights=new.rating) / new.lengths
    by_model, by_mean = (float(spearmanr(warmth[300:], values).statistic) for values in (found, mean))
    assert by_model > 0.9
    assert by_model > by_mean + 0.1


def test_a_user_stands_where_he_stands_whoever_is_beside() -> None:
    """Alone or among others, the same place to the last digits: what fold-in rests on."""
    train = random_histories(30, 9, seed=6)
    train = replace(train, rating=np.random.default_rng(6).integers(1, 6, len(train.items)).astype(np.float32))
    judgements = Judgements.fit(train, 12)
    together = judgements.scales(train)
    for user in range(len(train)):
        for alone, whole in zip(judgements.scales(train.of(np.array([user]))), together, strict=True):
            assert alone[0] == pytest.approx(whole[user], abs=1e-12)


@pytest.mark.parametrize("rated", [True, False])
def test_what_is_restored_says_the_same(rated: bool) -> None:
    """state, through JSON, and back: the same places to the last bit."""
    train = random_histories(20, 9, seed=7)
    if rated:
        train = _rated(train, np.random.default_rng(7).integers(1, 6, len(train.items)).tolist())
    judgements = Judgements.fit(train, 12)
    again = Judgements.restore(json.loads(json.dumps(judgements.state())))
    before, after = judgements.scales(train), again.scales(train)
    assert len(before) == len(after) == 1 + rated
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
