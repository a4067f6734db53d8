"""Users never seen: the share of the way to retraining, and the verdicts on it."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.evaluation.sections import made_up
from userip.evaluation.intervals import Difference
from userip.evaluation.sections.comparisons import Comparisons
from userip.evaluation.sections.unseen import recovered_verdict, unseen_users
from userip.reporting.blocks import Intervals, Section
from userip.reporting.numbers import write_number

NO_FIELD = "dcn-no-user-field"


def _sections(userip: float, with_field: float = 1.0) -> list[Section]:
    ends = {"none": 0.5, "constant": 0.5, "retrained": 2.0, "userip": with_field}
    cells = made_up.controls(ends) + made_up.controls({"constant": 0.5, "userip": userip}, NO_FIELD)
    return unseen_users(Comparisons(made_up.results(cells, "users"), 200))


def test_recovered_share_is_that_of_the_mean_aucs() -> None:
    """The share in plot and answer is (mine - unknown) / (retrained - unknown) of AUCs averaged over seeds."""
    labels = made_up.rows(2)["label"].to_numpy()

    def mean_auc(strength: float) -> float:
        predictions = [made_up.probabilities(labels, strength, seed) for seed in range(made_up.SEEDS)]
        return float(np.mean([roc_auc_score(labels, one) for one in predictions]))

    unknown, retrained, mine = mean_auc(0.5), mean_auc(2.0), mean_auc(1.2)
    share = (mine - unknown) / (retrained - unknown)
    section = _sections(1.2)[0]
    plot = section.blocks[0]
    assert isinstance(plot, Intervals)
    assert plot.rows[0].mean == pytest.approx(share, abs=1e-9)
    assert write_number(share, "percent") in section.answer


@pytest.mark.parametrize(
    ("strength", "verdict", "passed"), [(3.0, "yes", "yes"), (1.0, "no", "no"), (2.0, "yes", "undecided")]
)
def test_verdicts_follow_the_planted_strength(strength: float, verdict: str, passed: str) -> None:
    """Beyond retraining: yes and yes; half the way: both no; exactly retraining: recovered, but not above it."""
    recovered, above = _sections(strength)
    assert (recovered.verdict, above.verdict) == (verdict, passed)


def test_claims_are_made_without_user_field() -> None:
    """The recommender without a user field is the one that the answer speaks of, however good the other is."""
    section = _sections(1.0, with_field=3.0)[0]
    assert section.verdict == "no"
    assert section.answer.startswith("DCN without user field")


@pytest.mark.parametrize(
    ("mean", "low", "gain", "verdict"),
    [
        (1.02, 0.96, 0.01, "yes"),
        (1.02, 0.90, 0.01, "undecided"),
        (0.94, 0.90, 0.01, "no"),
        (1.02, 0.96, -0.01, "undecided"),
        (0.90, float("nan"), 0.01, "undecided"),
    ],
)
def test_goal_of_95_percent(mean: float, low: float, gain: float, verdict: str) -> None:
    """A mean under the goal is a no; yes asks for the whole interval, and for differences that exclude zero."""
    share = Difference(mean, low, 1.1, (mean,))
    assert recovered_verdict(share, [Difference(0.02, gain, 0.04, (0.02,))]) == verdict


def test_no_way_to_go() -> None:
    """Where retraining is no better than the unknown row, nothing is recovered, and the answer says so."""
    ends = {"none": 1.0, "constant": 1.0, "retrained": 1.0, "userip": 1.5}
    section = unseen_users(Comparisons(made_up.results(made_up.controls(ends), "users"), 200))[0]
    assert section.verdict == "undecided"
    assert "no way to measure" in section.answer


def test_other_splits_have_no_such_section() -> None:
    """Every user of a random split was seen."""
    assert unseen_users(Comparisons(made_up.results(made_up.controls({"userip": 1.0})), 50)) == []
