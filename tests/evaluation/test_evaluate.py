"""`userip evaluate` from end to end on a small set: what is compared, what is kept, and who sees test labels."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.evaluation.toy_report import SEEDS, evaluate_quickly, rewrite, small_set, with_other_test_labels
from tests.training.tiny_run import contents, easy_set
from userip.evaluation.controls import CONTROLS
from userip.evaluation.evaluate import evaluate_dataset
from userip.evaluation.fits import trials
from userip.evaluation.results import Results
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError, EmptyDataError, EvaluationError
from userip.training.formulas import FORMULAS
from userip.training.run import locked

pytestmark = pytest.mark.slow
PARTS = ("runs", "cells")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """A finished evaluation: data/ and report/ in a directory, and its results."""
    home = tmp_path_factory.mktemp("evaluation")
    small_set(home / "data")
    return home, evaluate_quickly(home, home / "data", home / "report")


@pytest.fixture
def again(whole: tuple[Path, Results], tmp_path: Path) -> Path:
    """A copy of that directory, to change."""
    shutil.copytree(whole[0], tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


class Fits:
    """How many fits were started; the n-th may be made to fail or to be killed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.kill_at: int | None = None
        self.fail_method = ""
        monkeypatch.setattr(trials, "_fit", self._fit)

    def _fit(self, dataset: Dataset, report: Path, trial: trials.Trial, real: Any = trials._fit) -> Any:  # noqa: ANN401
        if self.count == self.kill_at:
            raise KeyboardInterrupt
        self.count += 1
        if trial.experiment.method == self.fail_method:
            raise RuntimeError("planted\nfailure")
        return real(dataset, report, trial)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Fits:
    """Counts fits."""
    return Fits(monkeypatch)


def test_every_method_is_held_against_the_codes(whole: tuple[Path, Results]) -> None:
    """All controls and the codes in both recommenders, retraining, networks and transfer, each with every seed."""
    rows = json.loads((whole[0] / "report" / "quality.json").read_bytes())
    found = {(row["section"], row["method"], row["recommender"], row["seed"]) for row in rows}
    methods = {"none", "constant", "random", "shuffled", "userip", *CONTROLS}
    pairs = {("controls", method, name) for method in methods for name in ("dcn", "dcn-no-user-field")}
    pairs |= {("controls", "retrained", "dcn")}
    pairs |= {("recommenders", "none", name) for name in ("dcn", "dcnv2", "pnn", "deepfm", "ffm")}
    pairs |= {("transfer", method, name) for method in ("constant", "userip") for name in ("pnn", "dcnv2", "deepfm")}
    wanted = {(*pair, seed) for pair in pairs for seed in range(SEEDS)}
    wanted |= {("controls", method, "", 0) for method in ("constant-rate", *FORMULAS) if method not in _left_out()}
    assert found == wanted
    assert all(row["dataset"] == "simulated" and row["split"] == "users" for row in rows)


def test_the_figures_are_those_of_the_predictions(whole: tuple[Path, Results]) -> None:
    """AUC and logloss of quality.json are scikit-learn's of the labels as they lie in the data set."""
    home, results = whole
    label = Dataset.open(home / "data").final_eval()["label"].to_numpy()
    rows = json.loads((home / "report" / "quality.json").read_bytes())
    for row, one in zip(rows, results.scored, strict=True):
        assert row["auc"] == pytest.approx(roc_auc_score(label, one.test))
        assert row["logloss"] == pytest.approx(log_loss(label, one.test.astype(np.float64)), rel=1e-6)
        assert row["valid_auc"] == pytest.approx(roc_auc_score(results.valid["label"], one.valid))


def test_all_methods_are_searched_alike_on_validation(whole: tuple[Path, Results]) -> None:
    """The weight decay of every line is of the grid, and seed 0 has the best validation AUC of those in the cache."""
    results = whole[1]
    values = results.grid["weight_decay"]
    assert len(values) == 3
    for method, recommender, variant in results.rows_of("controls"):
        chosen = {str(one.settings) for one in results.of("controls", method, recommender, variant)}
        assert len(chosen) == 1
        if recommender:
            assert results.of("controls", method, recommender)[0].settings["weight_decay"] in values


def test_the_learning_curve_ends_at_the_whole_history(whole: tuple[Path, Results]) -> None:
    """Six cuts per method; where all histories fit into the last cut, it has nothing left to cut."""
    results = whole[1]
    curve = results.curve
    assert curve is not None
    assert curve.items == (1, 2, 4, 8, 16, 32)
    assert set(curve.predictions) == {"userip", "statistics"}
    assert set(curve.references) == {"none", "retrained"}
    for by_items in curve.predictions.values():
        assert {one.shape for one in by_items.values()} == {(SEEDS, results.test.height)}
        assert any(not np.array_equal(by_items[1], by_items[items]) for items in curve.items[1:])


def test_what_else_the_report_says(whole: tuple[Path, Results]) -> None:
    """Codebooks and probe of every seed, agreement between seeds, activity of every test user, the explanation."""
    results = whole[1]
    assert {book.seed for book in results.codebooks} == set(results.probe) == set(range(SEEDS))
    assert set(results.agreement) == {"hobby", "background"}
    assert set(results.activity["user_id"]) == set(results.test["user_id"])
    assert results.activity["rows"].min() > 0  # type: ignore[operator]  # held-out users have histories
    assert results.explanation is not None
    assert {(one.what, one.skipped) for one in results.failures} == {
        (f"controls, {name}", True) for name in _left_out()
    }
    assert {timing.what for timing in results.timings} >= {"seed-0, infer", "section controls", "learning curve"}


def test_seeds_share_one_language_model(whole: tuple[Path, Results]) -> None:
    """The runs of both seeds point to the same model, by relative links, and to inferences of their own."""
    runs = whole[0] / "report" / "runs"
    links = {
        step: [(runs / f"seed-{seed}" / step).readlink() for seed in range(SEEDS)] for step in ("language", "infer")
    }
    assert len(set(links["language"])) == 1
    assert len(set(links["infer"])) == SEEDS
    assert not any(link.is_absolute() for pair in links.values() for link in pair)


def test_a_repeated_evaluation_fits_nothing(again: Path, fits: Fits) -> None:
    """The second run starts no fit and writes the same figures."""
    before = (again / "report" / "quality.json").read_bytes()
    evaluate_quickly(again, again / "data", again / "report")
    assert fits.count == 0
    assert (again / "report" / "quality.json").read_bytes() == before


def test_no_prediction_knows_the_test_labels(again: Path, whole: tuple[Path, Results]) -> None:
    """With every test label turned round, all predictions and profiles come out the same, byte for byte."""
    shutil.rmtree(again / "report")
    with_other_test_labels(again / "data")
    turned = evaluate_quickly(again, again / "data", again / "report")
    for one, other in zip(turned.scored, whole[1].scored, strict=True):
        assert one.result == other.result
        assert np.array_equal(one.test, other.test), one.result
        assert np.array_equal(one.valid, other.valid), one.result
    assert np.array_equal(turned.test["label"].to_numpy(), ~whole[1].test["label"].to_numpy())


def test_a_killed_evaluation_goes_on_where_it_was(again: Path, fits: Fits) -> None:
    """Killed after ten fits and started again, it does the rest, no fit twice, and ends with the same figures."""
    before = (again / "report" / "quality.json").read_bytes()
    shutil.rmtree(again / "report" / "cells")
    (again / "report" / "quality.json").unlink()
    fits.kill_at = 10
    with pytest.raises(KeyboardInterrupt):
        evaluate_quickly(again, again / "data", again / "report")
    assert not (again / "report" / "quality.json").exists()
    kept = len(list((again / "report" / "cells").glob("*.npz")))
    assert kept == 10
    fits.kill_at = None
    evaluate_quickly(again, again / "data", again / "report")
    made = len(list((again / "report" / "cells").glob("*.npz")))
    curves = 2 * SEEDS
    assert fits.count == made - curves
    assert _without_seconds((again / "report" / "quality.json").read_bytes()) == _without_seconds(before)


def test_a_method_that_fails_loses_no_other(again: Path, fits: Fits, whole: tuple[Path, Results]) -> None:
    """The report is written with all other methods, names the failure in one line, and the command ends in error."""
    shutil.rmtree(again / "report" / "cells")
    fits.fail_method = "kmeans"
    with pytest.raises(EvaluationError, match=r"parts failed, the first: controls, kmeans.*planted failure"):
        evaluate_quickly(again, again / "data", again / "report")
    rows = json.loads((again / "report" / "quality.json").read_bytes())
    others = [
        row for row in json.loads((whole[0] / "report" / "quality.json").read_bytes()) if row["method"] != "kmeans"
    ]
    assert [row["auc"] for row in rows] == [row["auc"] for row in others]
    assert "planted failure" in (again / "report" / "report.md").read_text()


def test_a_report_does_not_go_into_the_data_set(tmp_path: Path) -> None:
    """The data set's directory as --out is refused, and stays as it was."""
    dataset = easy_set(tmp_path / "data", users=60)
    before = contents(dataset.path)
    with pytest.raises(ConfigError, match=r"--out .*data: is a data set; a report needs"):
        evaluate_dataset(dataset.path, dataset.path, "quick", 1, None, ())
    assert contents(dataset.path) == before


def test_two_evaluations_do_not_write_one_report(tmp_path: Path, fits: Fits) -> None:
    """The second is refused in one line: it would find the profiles half made, and report them as failures."""
    dataset = easy_set(tmp_path / "data", users=60)
    with (
        locked(tmp_path / "report", "report"),
        pytest.raises(ConfigError, match=r"--out .*report: another userip command is at work there"),
    ):
        evaluate_dataset(dataset.path, tmp_path / "report", "quick", 1, None, ())
    assert fits.count == 0
    assert [file.name for file in (tmp_path / "report").iterdir()] == [".lock"]


def test_what_cannot_be_is_refused_before_any_work(tmp_path: Path, fits: Fits) -> None:
    """A report that cannot be written and a section that there is not: one line each, and nothing is made."""
    dataset = easy_set(tmp_path / "data", users=60)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match=r"--out .*file.*: cannot be written \(Not a directory\)"):
        evaluate_dataset(dataset.path, tmp_path / "file" / "report", "quick", 1, None, ())
    with pytest.raises(ConfigError, match=r"--only control: no such section; there are controls, recommenders, llm"):
        evaluate_dataset(dataset.path, tmp_path / "report", "quick", 1, None, (), only=("control",))
    assert fits.count == 0
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("train", {"label": pl.lit(value=True)}, r"data: train rows: [\d,]+, all of one label; more data or another"),
        ("valid", {"label": pl.lit(value=False)}, r"data: valid rows: \d+, all of one label; more data or another"),
        ("valid", {"split": pl.lit("train")}, r"data: valid rows: none; more data or another"),
        ("test", {"split": pl.lit("train")}, r"data: test rows: none; more data or another"),
    ],
)
def test_rows_without_an_auc_are_refused_before_any_work(
    tmp_path: Path, part: str, change: dict[str, pl.Expr], said: str
) -> None:
    """Without rows, or without both labels to train and choose by, the first line says so, and nothing is made."""
    dataset = easy_set(tmp_path / "data", users=60)
    name, value = next(iter(change.items()))
    changed = {name: pl.when(pl.col("split") == part).then(value).otherwise(pl.col(name))}
    rewrite(dataset.path, lambda rows: rows.with_columns(**changed))
    with pytest.raises(EmptyDataError, match=said):
        evaluate_dataset(dataset.path, tmp_path / "report", "quick", 1, None, ())
    assert not (tmp_path / "report").exists()


def _left_out() -> list[str]:
    return [] if importlib.util.find_spec("lightgbm") else ["lightgbm"]


def _without_seconds(text: bytes) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in json.loads(text)]
