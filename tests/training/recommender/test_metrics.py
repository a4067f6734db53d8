"""The metrics against scikit-learn, explicit loops and the paper's own tables."""

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, ndcg_score, roc_auc_score

from userip.training.recommender.metrics import (
    auc,
    ece,
    evaluate,
    logloss,
    rela_impr_auc,
    rela_impr_logloss,
    within_users,
)

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=60)


@given(ROWS)
def test_auc_is_scikit_learns_with_ties(rows: list[tuple[bool, int, int]]) -> None:
    """Scores from six values, so that ties abound; undefined with one class."""
    labels, scores = [row[0] for row in rows], [row[1] / 5 for row in rows]
    if len(set(labels)) < 2:
        assert math.isnan(auc(labels, scores))
    else:
        assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@given(ROWS)
def test_gauc_is_the_weighted_mean_over_users(rows: list[tuple[bool, int, int]]) -> None:
    """Each user's AUC counts as often as the user has rows; users with one class do not count."""
    labels = np.asarray([row[0] for row in rows])
    scores = np.asarray([row[1] / 5 for row in rows])
    users = np.asarray([f"user {row[2]}" for row in rows])
    total, weight = 0.0, 0
    for user in set(users):
        mine = users == user
        if len(set(labels[mine])) == 2:
            total += mine.sum() * roc_auc_score(labels[mine], scores[mine])
            weight += int(mine.sum())
    if weight:
        assert within_users(users, labels, scores).mean("gauc") == pytest.approx(total / weight, abs=1e-12)
    else:
        assert math.isnan(within_users(users, labels, scores).mean("gauc"))


@given(ROWS)
def test_ndcg_is_scikit_learns_with_ties(rows: list[tuple[bool, int, int]]) -> None:
    """Within each user with both labels, at 5 and 10; each of them counts once, and those left out are counted."""
    labels = np.asarray([row[0] for row in rows])
    scores = np.asarray([row[1] / 5 for row in rows])
    users = np.asarray([f"user {row[2]}" for row in rows])
    ranked = [user for user in set(users) if len(set(labels[users == user])) == 2]
    found = evaluate(users, labels, scores)
    assert (found["ranked_users"], found["one_label_users"]) == (len(ranked), len(set(users)) - len(ranked))
    for cut in (5, 10):
        each = [ndcg_score([labels[users == user]], [scores[users == user]], k=cut) for user in ranked]
        assert found[f"ndcg_{cut}"] == pytest.approx(np.mean(each) if each else math.nan, abs=1e-12, nan_ok=True)


def test_ndcg_of_ties_is_the_mean_over_all_orders() -> None:
    """Brute force: seven rows in three ties, every order that the scores leave open."""
    labels, scores = [1, 0, 1, 0, 0, 1, 0], [0.9, 0.9, 0.5, 0.5, 0.5, 0.5, 0.1]
    best = sum(1 / math.log2(place + 2) for place in range(3))
    found = [
        sum(labels[row] / math.log2(place + 2) for place, row in enumerate(order[:5])) / best
        for order in permutations(range(7))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    assert len(found) == 48  # 2! x 4!
    assert evaluate(["u"] * 7, labels, scores)["ndcg_5"] == pytest.approx(np.mean(found))


def test_logloss_is_scikit_learns_and_clipped_at_one_in_ten_million() -> None:
    """A certain mistake costs -log(1e-7), not infinity."""
    rng = np.random.default_rng(0)
    labels, probabilities = rng.random(500) < 0.4, rng.random(500)
    assert logloss(labels, probabilities) == pytest.approx(log_loss(labels, probabilities), abs=1e-12)
    assert logloss([True], [0.0]) == pytest.approx(-math.log(1e-7))
    assert logloss([False], np.asarray([1.0], np.float32)) == pytest.approx(-math.log(1e-7))


def test_ece_by_hand() -> None:
    """Two bins: (.05, .15 | labels 0, 0 in bins 0 and 1), (.95, 1.0 | labels 1, 0 in bin 9)."""
    # bin 0: |0 - .05| x 1/4, bin 1: |0 - .15| x 1/4, bin 9: |.5 - .975| x 2/4
    assert ece([0, 0, 1, 0], [0.05, 0.15, 0.95, 1.0]) == pytest.approx(0.05 / 4 + 0.15 / 4 + 0.475 / 2)


def test_a_constant_prediction_at_the_base_rate_is_calibrated_and_blind() -> None:
    """AUC and GAUC one half, ECE zero, logloss the entropy of the base rate."""
    labels = [True, True, False, True]
    found = evaluate(["a", "a", "a", "a"], labels, [0.75] * 4)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    blind = (1 + 1 / math.log2(3) + 0.5 + 1 / math.log2(5)) * 0.75 / (1 + 1 / math.log2(3) + 0.5)
    ranking = {"gauc": 0.5, "ndcg_5": blind, "ndcg_10": blind, "ranked_users": 1, "one_label_users": 0}
    assert found == pytest.approx({"auc": 0.5, "ece": 0.0, "logloss": entropy, **ranking})


def test_no_rows_have_no_figures() -> None:
    """Every figure of an empty part is NaN, none is an error."""
    found = evaluate([], [], [])
    assert (found.pop("ranked_users"), found.pop("one_label_users")) == (0, 0)
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize(
    ("model", "base", "reported"),
    [(0.6269, 0.6214, 4.5548), (0.8184, 0.8167, 0.5336), (0.7393, 0.7317, 3.2755), (0.7314, 0.7287, 1.1937)],
)
def test_relative_auc_improvement_gives_the_papers_numbers(model: float, base: float, reported: float) -> None:
    """Clothing, Movies, Games over DCN and Yelp over PNN, within .03 points (their inputs are rounded)."""
    assert rela_impr_auc(model, base) == pytest.approx(reported, abs=0.03)


@pytest.mark.parametrize(
    ("model", "base", "reported"),
    [(0.5126, 0.5322, 3.8199), (0.4566, 0.4582, 0.3482), (0.7285, 0.7744, 6.2992), (0.5558, 0.5574, 0.2879)],
)
def test_relative_logloss_improvement_gives_the_papers_numbers(model: float, base: float, reported: float) -> None:
    """The same four sets, within .03 points."""
    assert rela_impr_logloss(model, base) == pytest.approx(reported, abs=0.03)
