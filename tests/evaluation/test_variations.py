"""Every method brings what an evaluation varies of it; `counts` is evaluated with its own."""

from pathlib import Path

import pytest

from tests.training.tiny_run import easy_set
from userip.evaluation.evaluate import evaluate_dataset
from userip.evaluation.fits.runs import varied
from userip.evaluation.plan import OWN, ablations_of, plan, variations_of
from userip.models.recommenders import RECOMMENDERS
from userip.training.config import load_config
from userip.training.methods import METHODS


@pytest.mark.parametrize("method", METHODS)
def test_every_variation_of_a_method_is_a_configuration(method: str) -> None:
    """None is refused, each changes something, and what no setting does is in no plan."""
    base = load_config(settings=[f"method={method}"], environment={})
    planned = {one.variant for one in plan("full", "users", method) if one.variant}
    assert planned == {name for name, one in variations_of(method).items() if not one.impossible}
    for name, one in variations_of(method).items():
        if one.settings or one.preset:
            assert varied(one, base, None, [f"method={method}"], "default") != base or "=" in name


def test_recommenders_of_our_own_are_those_of_the_dict() -> None:
    """One more entry of RECOMMENDERS is one more row."""
    assert set(OWN) == set(RECOMMENDERS)


def test_counts_are_evaluated(tmp_path: Path) -> None:
    """Ablations and sweep of the method itself, no language model, and measures within users in every row."""
    dataset = easy_set(tmp_path / "data", users=60, split="users")
    results = evaluate_dataset(
        dataset.path, tmp_path / "report", "full", 1, None,
        ["method=counts", "fit.epochs=1", "quantize.restarts=1", "quantize.surrogate_epochs=1"],
        workers=1, only=["ablations", "sweep"],
    )  # fmt: skip
    assert results.method == "counts"
    assert {one.result.variant for one in results.scored} == set(variations_of("counts"))
    assert set(ablations_of("counts")) >= {"as configured", "without cross-fitting", "last 8 items"}
    assert not [one for one in results.failures if not one.skipped]
    report = (tmp_path / "report" / "report.md").read_text()
    assert "| method | validation AUC | GAUC | NDCG@5 | NDCG@10 | logloss | ECE | AUC |" in report
    assert "GAUC and NDCG rank within a user" in report
    assert not (tmp_path / "report" / "runs" / "seed-0" / "language").exists()
