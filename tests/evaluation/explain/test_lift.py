"""Votes of a code's users against all users' votes: the ratio, how sure it is, and how likely by chance."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from userip.evaluation.explain.lift import Sums

Floats = NDArray[np.floating]


def _sums(votes: Floats, codes: list[int], min_users: int = 1) -> Sums:
    """Votes [users, keys] and one code per user, as the tables that are summed. Key k is called "k{k}"."""
    users, keys = np.nonzero(votes)
    table = pl.DataFrame(
        {"user_id": [f"u{u}" for u in users], "key": [f"k{k}" for k in keys], "value": votes[users, keys]}
    )
    members = pl.DataFrame({"user_id": [f"u{u}" for u in range(len(codes))], "code": codes})
    return Sums.of(table, members, max(codes) + 1, min_users)


def _random(users: int, keys: int, seed: int) -> Floats:
    draw = np.random.default_rng(seed)
    return np.where(draw.random((users, keys)) < 0.4, draw.random((users, keys)), 0.0)


def test_a_lift_is_the_mean_vote_of_the_code_over_that_of_all() -> None:
    """By explicit loops over users, who count alike whether they vote or not."""
    votes, codes = _random(30, 4, 0), [n % 3 for n in range(30)]
    sums = _sums(votes, codes)
    lift, low, high = sums.lift()
    for code in range(3):
        for key in range(4):
            mine = [votes[u, key] for u in range(30) if codes[u] == code]
            everybody = sum(votes[:, key]) / 30
            at = code, sums.keys.index(f"k{key}")
            assert lift[at] == pytest.approx(sum(mine) / len(mine) / everybody)
            assert low[at] < lift[at] < high[at]


@pytest.mark.parametrize("whole", [True, False])
def test_the_interval_is_that_of_a_bootstrap_over_users(whole: bool) -> None:
    """Users redrawn 4,000 times in a loop: the percentiles of the lift are the ends, within a twentieth."""
    draw = np.random.default_rng(1)
    codes = np.where(np.arange(900) < 300, 0, 1)
    rate = np.where(codes == 0, 0.3, 0.15)
    votes = (draw.random(900) < rate) * (1.0 if whole else draw.random(900))
    (_, low, high) = (ends[0, 0] for ends in _sums(votes[:, None], codes.tolist()).lift())
    resampled = []
    for _ in range(4000):
        drawn = draw.integers(900, size=900)
        resampled.append(votes[drawn][codes[drawn] == 0].mean() / votes[drawn].mean())
    assert [low, high] == pytest.approx(np.quantile(resampled, [0.025, 0.975]), rel=0.05)


def test_a_key_that_nobody_else_votes_for_is_not_certain() -> None:
    """All three votes lie in the code: the lift is the largest there can be, and its interval still has a width."""
    votes = np.zeros((40, 1))
    votes[:3] = 1.0
    lift, low, high = _sums(votes, [0] * 20 + [1] * 20).lift()
    assert lift[0, 0] == high[0, 0] == pytest.approx(2.0)
    assert low[0, 0] < 1.5


@pytest.mark.parametrize("seed", range(4))
def test_chance_is_exact_for_whole_votes_and_never_too_small_for_others(seed: int) -> None:
    """Against all 252 ways to draw five of ten users: equal for votes of 0 and 1, an upper bound for shares."""
    draw = np.random.default_rng(seed)
    for whole in (True, False):
        votes = (draw.random((10, 3)) < 0.5).astype(np.float64)
        votes[:3] = np.eye(3)  # every key has a vote and lacks one
        votes = votes if whole else votes * draw.random((10, 3))
        sums = _sums(votes, [0] * 5 + [1] * 5)
        for key in range(3):
            totals = [sum(votes[u, key] for u in some) for some in combinations(range(10), 5)]
            exact = sum(total >= votes[:5, key].sum() - 1e-12 for total in totals) / len(totals)
            found = sums.chance()[0, sums.keys.index(f"k{key}")]
            if whole:
                assert found == pytest.approx(exact)
            else:
                assert exact <= found <= 1


def test_chance_gets_small_where_a_code_is_another_kind_of_users() -> None:
    """The bound is not an empty one: 60 users who vote .8 among 300 who vote .2 are no draw of chance."""
    votes = np.full((360, 1), 0.2)
    votes[:60] = 0.8
    assert _sums(votes, [0] * 60 + [1] * 300).chance()[0, 0] < 1e-12


def test_chance_of_many_users_is_the_normal_tail_up_to_its_usual_bound() -> None:
    """In the limit of many users and a small excess, Bennett's bound is exp(-z^2 / 2), from above."""
    draw = np.random.default_rng(8)
    votes = draw.random((40_000, 1))
    votes[:4000] = np.minimum(votes[:4000] * 1.03, 1)
    z = (votes[:4000].sum() - 4000 * votes.mean()) / (4000**0.5 * votes.std())
    assert 2 < z < 5
    found = _sums(votes, [0] * 4000 + [1] * 36_000).chance()[0, 0]
    # Its next term, exp(z^2 / 2 * u / 3) with u = .08, is 1.14 here.
    assert np.exp(-(z**2) / 2) <= found < 1.2 * np.exp(-(z**2) / 2)


def test_rare_keys_are_no_candidates() -> None:
    """A key with fewer votes than `min_users` is left out, whoever casts them; others count in full."""
    votes = np.zeros((20, 2))
    votes[:3, 0], votes[:5, 1] = 1.0, 1.0
    sums = _sums(votes, [0] * 10 + [1] * 10, min_users=4)
    assert sums.keys == ["k1"]
    assert sums.support.tolist() == [[5.0], [0.0]]
