"""The fit step's files, and what `metrics.json` says."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.training.toy import toy_codes, toy_dataset
from userip.training.data.dataset import Dataset
from userip.training.errors import DataError
from userip.training.formulas import CHEAP
from userip.training.formulas.ground import Ground
from userip.training.formulas.probabilities import FittedFormula
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.step import run_fit
from userip.training.recommender.storage import read_recommender

CONFIG = RecommenderConfig(batch=128, lr=5e-3, epochs=8, user_field=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "set", split="users")


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory after quantize and fit."""
    run = tmp_path_factory.mktemp("run")
    (run / "quantize").mkdir()
    (run / "fit").mkdir()
    codes = toy_codes(dataset)
    codes.frame.write_parquet(run / "quantize" / "codes.parquet")
    summary = {"facets": list(codes.facets), "folds": 0, "split_hash": dataset.split_hash}
    (run / "quantize" / "quantize.json").write_text(json.dumps(summary))
    run_fit(dataset, run, run / "fit", CONFIG, seed=3)
    return run


def test_it_writes_three_files_and_reads_the_test_rows_once(dataset: Dataset, run: Path) -> None:
    """recommender.safetensors, encoder.json, metrics.json; one read of the test part."""
    assert {path.name for path in (run / "fit").iterdir()} == {
        "recommender.safetensors",
        "encoder.json",
        "metrics.json",
    }
    assert dataset.test_reads == 1


def test_the_figures_are_those_of_the_saved_recommender(dataset: Dataset, run: Path) -> None:
    """Read back, the recommender scores the test rows to the AUC and logloss that metrics.json states."""
    metrics = json.loads((run / "fit" / "metrics.json").read_text())
    fitted = read_recommender(run / "fit", dataset, toy_codes(dataset))
    test = dataset.final_eval()
    labels, scores = test["label"].to_numpy(), fitted.predict(test)
    assert metrics["test"]["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert metrics["test"]["logloss"] == pytest.approx(log_loss(labels, scores.astype(np.float64)), abs=1e-6)


def test_the_constant_rate_stands_beside_the_figures(dataset: Dataset, run: Path) -> None:
    """A predictor that always says the train rate: AUC one half, logloss the rates' cross-entropy."""
    constant = json.loads((run / "fit" / "metrics.json").read_text())["constant_rate"]
    rate = float(dataset.rows("train")["label"].to_numpy().mean())
    positive = float(dataset.rows("valid")["label"].to_numpy().mean())
    expected = -(positive * math.log(rate) + (1 - positive) * math.log(1 - rate))
    assert constant["rate"] == pytest.approx(rate)
    assert constant["valid"]["auc"] == 0.5
    assert constant["valid"]["logloss"] == pytest.approx(expected)


def test_the_best_cheap_formula_stands_beside_the_figures(dataset: Dataset, run: Path) -> None:
    """One of `CHEAP`, with the AUC that its predictions have."""
    formula = json.loads((run / "fit" / "metrics.json").read_text())["formula"]
    assert formula["name"] in CHEAP
    test = dataset.final_eval()
    scores = FittedFormula.fit(formula["name"], Ground(dataset)).predict(test)
    assert formula["test"]["auc"] == pytest.approx(roc_auc_score(test["label"], scores))


def test_codebooks_and_coverage_are_told(run: Path) -> None:
    """Usage and perplexity per facet, what quantize said of it, and how much of the parts was known."""
    metrics = json.loads((run / "fit" / "metrics.json").read_text())
    background, hobby = metrics["codebooks"]
    assert (background["facet"], hobby["facet"], hobby["size"]) == ("background", "hobby", 3)
    assert hobby["usage"] == pytest.approx([1 / 3] * 3)
    assert hobby["perplexity"] == pytest.approx(3.0)
    assert hobby["note"] == "planted"
    assert hobby["collapsed"] is False
    assert metrics["coverage"]["test"] == {"codes": 1.0, "item": 1.0}


def test_the_files_are_the_same_for_the_same_seed(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    """Weights and fields byte for byte."""
    run_fit(dataset, run, tmp_path, CONFIG, seed=3)
    for name in ("recommender.safetensors", "encoder.json", "metrics.json"):
        assert (tmp_path / name).read_bytes() == (run / "fit" / name).read_bytes()


def test_a_damaged_recommender_is_refused_by_name(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    """Cut short, or not there: the message names the file and the step to run again."""
    (tmp_path / "encoder.json").write_bytes((run / "fit" / "encoder.json").read_bytes())
    codes = toy_codes(dataset)
    with pytest.raises(DataError, match=r"recommender\.safetensors: not found"):
        read_recommender(tmp_path, dataset, codes)
    whole = (run / "fit" / "recommender.safetensors").read_bytes()
    (tmp_path / "recommender.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"recommender\.safetensors"):
        read_recommender(tmp_path, dataset, codes)
