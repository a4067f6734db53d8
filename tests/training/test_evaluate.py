"""`userip evaluate`: what is compared, and that the report says what quality.json holds."""

import json
import re
from pathlib import Path

import pytest

from tests.training.tiny_run import HASTE, SETTINGS, config_file, contents, easy_set, one_thread
from training.errors import ConfigError
from training.evaluate import METHODS, RECOMMENDERS, evaluate_dataset

pytestmark = pytest.mark.slow


def test_codes_are_held_against_their_controls(tmp_path: Path) -> None:
    """Every method with every recommender and seed, retraining too where users were held out; report and JSON agree."""
    dataset = easy_set(tmp_path / "data", users=60, split="users")
    out, seeds = tmp_path / "report", 2
    settings = (*SETTINGS, *HASTE, "fit.epochs=2")
    with one_thread():
        rows = evaluate_dataset(dataset.path, out, "quick", seeds, config_file(tmp_path), settings)
    assert json.loads((out / "quality.json").read_bytes()) == rows
    compared = {(method, recommender) for method in METHODS for recommender in RECOMMENDERS} | {("retrained", "dcn")}
    assert {(row["method"], row["recommender"], row["seed"]) for row in rows} == {
        (*pair, seed) for pair in compared for seed in range(seeds)
    }
    assert all(row["dataset"] == "simulated" and row["split"] == "users" for row in rows)
    auc = {pair: _mean(rows, pair) for pair in compared}
    lines = re.findall(r"^\| (\S+) \| (\S+) \| ([\d.]+) \| [\d.]+ \| ?([+-][\d.]+)?", _report(out), flags=re.MULTILINE)
    assert {(method, recommender) for recommender, method, *_ in lines} == compared
    for recommender, method, stated, gain in lines:
        assert float(stated) == pytest.approx(auc[method, recommender], abs=1e-4)
        if method != "constant":
            expected = auc[method, recommender] - auc["constant", recommender]
            assert float(gain) == pytest.approx(expected, abs=1.5e-4)


def test_a_report_does_not_go_into_the_data_set(tmp_path: Path) -> None:
    """The data set's directory as --out is refused, and stays as it was."""
    dataset = easy_set(tmp_path / "data", users=60)
    before = contents(dataset.path)
    with pytest.raises(ConfigError, match=r"--out .*data: is a data set; a report needs"):
        evaluate_dataset(dataset.path, dataset.path, "quick", 1, None, ())
    assert contents(dataset.path) == before


def _mean(rows: list[dict[str, object]], pair: tuple[str, str]) -> float:
    found = [float(str(row["auc"])) for row in rows if (row["method"], row["recommender"]) == pair]
    return sum(found) / len(found)


def _report(out: Path) -> str:
    return (out / "report.md").read_text(encoding="utf-8")
