"""Claims about seen users, controls, recommenders, transfer, ablations and sweeps: planted differences, verdicts."""

import re

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.evaluation.sections import made_up
from userip.evaluation.results import Failure, Scored
from userip.evaluation.sections.ablations import ablations, sweeps
from userip.evaluation.sections.comparisons import Comparisons
from userip.evaluation.sections.recommenders import against_recommenders, codes_transfer
from userip.evaluation.sections.users import against_formulas, against_other_codes, quarters, seen_users
from userip.reporting.blocks import Estimate, Intervals, Lines, Section, Table

PLANTED = [(2.5, "yes"), (1.0, "undecided"), (0.2, "no")]


def _compare(cells: list[Scored], *failures: Failure) -> Comparisons:
    return Comparisons(made_up.results(cells, failures=failures), 200)


def _table(section: Section) -> Table:
    return next(block for block in section.blocks if isinstance(block, Table))


def _mine(strength: float) -> list[Scored]:
    return made_up.scored(("controls", "userip", "dcn", ""), strength, noise=1)


@pytest.mark.parametrize(("strength", "verdict"), PLANTED)
def test_seen_users(strength: float, verdict: str) -> None:
    """Above constant and random codes, like them, below them."""
    cells = made_up.controls({"none": 1.0, "constant": 1.0, "random": 1.0}) + _mine(strength)
    assert seen_users(_compare(cells))[0].verdict == verdict


def test_seen_users_need_both_comparisons() -> None:
    """Without random codes the claim stays undecided, however large the gain over constant codes."""
    assert seen_users(_compare(made_up.controls({"constant": 1.0}) + _mine(3.0)))[0].verdict == "undecided"


def test_quarters_are_of_users() -> None:
    """Users with 1, 2, .. 8 rows: two in each quarter, whatever their number of test rows; one without rows apart."""
    users = np.array(["a", *(f"u{number}" for number in range(1, 9) for _ in range(number))], dtype=object)
    rows = np.array([0, *(number for number in range(1, 9) for _ in range(number))])
    found = [(name, sorted(set(rows[inside].tolist()))) for name, inside in quarters(rows, users)]
    assert [members for _, members in found] == [[0], [1, 2], [3, 4], [5, 6], [7, 8]]
    assert found[2][0] == "quarter 2: 3 to 4 rows"


@pytest.mark.parametrize(("strength", "verdict"), PLANTED)
def test_against_statistics(strength: float, verdict: str) -> None:
    """Above, like and below statistics codes."""
    cells = made_up.controls({"statistics": 1.0}) + _mine(strength)
    assert against_other_codes(_compare(cells))[0].verdict == verdict


@pytest.mark.parametrize(("strength", "verdict"), PLANTED)
def test_against_formulas(strength: float, verdict: str) -> None:
    """In GAUC above both formulas, like one of them, below it: one that is not beaten is enough."""
    cells = made_up.controls({"ease": 0.1, "lightgbm": 1.0}, "") + _mine(strength)
    (section,) = against_formulas(_compare(cells))
    assert section.verdict == verdict
    assert section.answer.startswith("GAUC of userip codes with DCN")
    assert against_formulas(_compare(_mine(strength))) == []


def test_better_statistics_are_chosen_by_validation() -> None:
    """The statistics codes that validation prefers stand against UserIP, even if the test prefers the others."""
    cells = made_up.scored(("controls", "statistics", "dcn", ""), 3.0, valid=0.5)
    cells += made_up.scored(("controls", "statistics-mf", "dcn", ""), 0.5, valid=3.0)
    first = against_other_codes(_compare(cells + _mine(1.5)))[0]
    assert "statistics codes (MF)" in first.answer
    assert first.verdict == "yes"


def test_one_better_control_is_enough_for_a_no() -> None:
    """Above constant codes, but below activity bins: any grouping would do, or a better one does."""
    every = against_other_codes(_compare(made_up.controls({"constant": 0.5, "activity": 3.0}) + _mine(1.5)))[-1]
    assert every.verdict == "no"
    assert re.search(r"above constant codes \(.*\) and below activity bins", every.answer)


def test_best_baseline_is_chosen_by_validation() -> None:
    """FFM wins on validation, PNN on test: FFM is the baseline of the claim, and PNN's row shows that it is better."""
    cells = made_up.scored(("recommenders", "none", "ffm", ""), 0.5, valid=3.0)
    cells += made_up.scored(("recommenders", "none", "pnn", ""), 3.0, valid=0.5)
    section = against_recommenders(_compare(cells + _mine(1.5)))[0]
    assert section.verdict == "yes"
    assert "above FFM (+" in section.answer
    rows = {str(row[0]): row for row in _table(section).rows}
    assert "FFM (best by validation)" in rows
    assert isinstance(rows["PNN"][10], Estimate)
    assert rows["PNN"][10].low > 0


def test_relative_improvements_are_those_of_the_paper() -> None:
    """RelaImpr of UserIP over a row, by Eq. 10 and 11 from scikit-learn's figures."""
    cells = made_up.scored(("recommenders", "none", "ffm", ""), 0.8, seeds=[0])
    cells += made_up.scored(("controls", "userip", "dcn", ""), 1.5, seeds=[0])
    labels = made_up.rows(2)["label"].to_numpy()
    base, model = (np.float64(made_up.probabilities(labels, strength, 0)) for strength in (0.8, 1.5))
    auc = (roc_auc_score(labels, model) - 0.5) / (roc_auc_score(labels, base) - 0.5) - 1
    loss = log_loss(labels, base) / log_loss(labels, model) - 1
    section = against_recommenders(_compare(cells))[0]
    row = next(row for row in _table(section).rows if row[0] == "FFM (best by validation)")
    assert row[12] == pytest.approx(auc, abs=1e-6)
    assert row[13] == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize(("strengths", "verdict"), [((2.0, 2.0), "yes"), ((2.0, 0.2), "no"), ((2.0, 1.0), "undecided")])
def test_transfer(strengths: tuple[float, float], verdict: str) -> None:
    """Yes asks for a gain in every recommender; one loss is a no; one without a difference leaves it open."""
    cells: list[Scored] = []
    for name, strength in zip(("pnn", "deepfm"), strengths, strict=True):
        cells += made_up.scored(("transfer", "constant", name, ""), 1.0)
        cells += made_up.scored(("transfer", "userip", name, ""), strength, noise=1)
    assert codes_transfer(_compare(cells))[0].verdict == verdict


@pytest.mark.parametrize(("strength", "verdict"), [(0.5, "yes"), (1.5, "undecided"), (2.9, "no")])
def test_ablations(strength: float, verdict: str) -> None:
    """A part is worth something if leaving it out costs AUC; if that gains, its row says so."""
    cells = made_up.scored(("ablations", "userip", "dcn", "as configured"), 1.5)
    cells += made_up.scored(("ablations", "userip", "dcn", "without polarity"), strength, noise=1)
    section = ablations(_compare(cells))[0]
    assert section.verdict == verdict
    gain = next(row for row in _table(section).rows if row[0] == "without polarity")[10]
    assert isinstance(gain, Estimate)
    assert (gain.low > 0) == (verdict == "no")


@pytest.mark.parametrize(("large", "verdict"), [(0.5, "yes"), (1.5, "undecided"), (2.9, "no")])
def test_sizes(large: float, verdict: str) -> None:
    """Small codebooks are best if the small one chosen by validation beats the larger one chosen so."""
    cells = made_up.scored(("ablations", "userip", "dcn", "as configured"), 1.0)
    cells += made_up.scored(("sweep", "userip", "dcn", "size=4"), 1.5, valid=1.5)
    cells += made_up.scored(("sweep", "userip", "dcn", "size=3"), 3.0, valid=0.1)
    cells += made_up.scored(("sweep", "userip", "dcn", "size=81"), large, noise=1)
    section = sweeps(_compare(cells))[0]
    assert section.verdict == verdict
    assert "size=4 against size=81" in section.answer
    lines = next(block for block in section.blocks if isinstance(block, Lines))
    assert list(lines.series[0].x) == [3, 4, 81]
    assert lines.series[0].y[0] > lines.series[0].y[1] > 0


def test_a_failed_line_is_shown() -> None:
    """A line without predictions stands in its table as failed, one that cannot be done as skipped."""
    cells = made_up.scored(("recommenders", "none", "ffm", ""), 0.5) + _mine(1.0)
    failures = (
        Failure("recommenders, none, afn, seed 1", "broke"),
        Failure("llm, kar-style", "no encoder", skipped=True),
    )
    rows = _table(against_recommenders(_compare(cells, *failures))[0]).rows
    assert ("no codes, AFN, seed 1", "failed") in [row[:2] for row in rows]
    assert ("KAR-style", "skipped") in [row[:2] for row in rows]


def test_seeds_are_paired() -> None:
    """A seed that only one side has is not compared: the difference is that of the common seed."""
    cells = made_up.scored(("controls", "constant", "dcn", ""), 0.5, seeds=[1, 2])
    cells += made_up.scored(("controls", "random", "dcn", ""), 0.5, seeds=[1, 2])
    cells += made_up.scored(("controls", "userip", "dcn", ""), 1.5, seeds=[0, 2])
    labels = made_up.rows(2)["label"].to_numpy()
    ends = [roc_auc_score(labels, made_up.probabilities(labels, strength, 2)) for strength in (0.5, 1.5)]
    plot = seen_users(_compare(cells))[0].blocks[0]
    assert isinstance(plot, Intervals)
    assert plot.rows[0].mean == pytest.approx(ends[1] - ends[0], abs=1e-9)
