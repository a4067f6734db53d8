"""`userip evaluate`: profile codes against their controls on one data set.

Every method is fitted with the same rows, the same settings and the same seeds and stops early on validation; the
test rows are read once, after the last fit. Writes REPORT/quality.json (one row per method, recommender and seed) and
REPORT/report.md (means over seeds, and the paired difference to constant codes with its interval over users).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.config import load_config
from training.data.dataset import INFO, Dataset
from training.errors import ConfigError
from training.files import write_text
from training.progress import track
from training.recommender.codes import CodeTable
from training.recommender.config import CodesKind, RecommenderConfig
from training.recommender.fit import FittedRecommender, fit_recommender
from training.recommender.metrics import auc, evaluate
from training.run import run_step

METHODS: Final[dict[str, CodesKind]] = {
    "none": "none",
    "constant": "constant",
    "random": "random",
    "shuffled": "shuffled",
    "userip": "profile",
}
RECOMMENDERS: Final = {"dcn": True, "dcn-no-user-field": False}
BASE: Final = "constant"
RESAMPLES: Final = 400

Scores = NDArray[np.float64]


class Cell(NamedTuple):
    """One line of the report: a method with a recommender. predictions float64 [seeds, test rows]."""

    method: str
    recommender: str
    predictions: Scores


class _WithHistories(Dataset):
    """The same data set, but the held-out users' histories are train rows: what retraining would see."""

    def rows(self, *splits: str) -> pl.DataFrame:
        if splits in ((), ("train",)):
            return super().rows("train", "history")
        return super().rows(*splits)


def evaluate_dataset(
    path: Path, out: Path, preset: str, seeds: int, config: Path | None, settings: Iterable[str]
) -> list[dict[str, Any]]:
    """Infer codes once (in REPORT/run, resumable), fit everything, read the test rows, write both reports."""
    dataset = Dataset.open(path)
    if (out / INFO).is_file():
        raise ConfigError(f"--out {out}: is a data set; a report needs a directory of its own")
    resolved = load_config("quick" if preset == "quick" else "default", config, settings)
    run = out / "run"
    for step in ("language", "infer", "quantize"):
        run_step(step, dataset, run, resolved, seed=0)
    codes = CodeTable.read(run / "quantize", dataset.split_hash)
    fits = _fit_all(dataset, codes, resolved.fit, seeds)
    test = dataset.final_eval()
    rows = []
    cells = []
    for (method, recommender), fitted in fits.items():
        predictions = np.stack([one.predict(test).astype(np.float64) for one in fitted])
        cells.append(Cell(method, recommender, predictions))
        for seed, predicted in enumerate(predictions):
            figures = evaluate(test["user_id"], test["label"], predicted)
            rows.append(
                {
                    "dataset": dataset.name, "split": dataset.info.split, "method": method,
                    "recommender": recommender, "seed": seed, **figures,
                }
            )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "quality.json", json.dumps(rows, indent=1))
    text = _report(dataset, test, cells, seeds)
    write_text(out / "report.md", text)
    print(text)
    return rows


def _fit_all(
    dataset: Dataset, codes: CodeTable, config: RecommenderConfig, seeds: int
) -> dict[tuple[str, str], list[FittedRecommender]]:
    plan: list[tuple[str, str, Dataset, RecommenderConfig]] = []
    for recommender, user_field in RECOMMENDERS.items():
        for method, kind in METHODS.items():
            settings = config.model_copy(update={"codes": kind, "user_field": user_field})
            plan.append((method, recommender, dataset, settings))
    if dataset.info.split == "users":
        settings = config.model_copy(update={"codes": "none", "user_field": True})
        plan.append(("retrained", "dcn", _WithHistories(dataset.path, dataset.info), settings))
    fits: dict[tuple[str, str], list[FittedRecommender]] = {}
    todo = [(*entry, seed) for entry in plan for seed in range(seeds)]
    for method, recommender, rows, settings, seed in track(todo, label="fits"):
        known = None if settings.codes == "none" else codes
        fits.setdefault((method, recommender), []).append(fit_recommender(rows, known, settings, seed))
    return fits


def _report(dataset: Dataset, test: pl.DataFrame, cells: list[Cell], seeds: int) -> str:
    label = test["label"].to_numpy().astype(np.float64)
    base = {cell.recommender: cell for cell in cells if cell.method == BASE}
    lines = [
        f"# {dataset.name}, {dataset.info.split} split",
        "",
        f"{test.height:,} test rows of {test['user_id'].n_unique():,} users; {seeds} seeds of the recommender over one "
        "run of inference. The difference is paired, to constant codes in the same recommender; its interval is a "
        "bootstrap over users of the mean over seeds.",
        "",
        "| recommender | method | AUC | logloss | difference in AUC | 95 % interval |",
        "|---|---|---|---|---|---|",
    ]
    picks = _resamples(test["user_id"])
    for cell in cells:
        aucs = [auc(label, predicted) for predicted in cell.predictions]
        losses = [evaluate(test["user_id"], test["label"], p)["logloss"] for p in cell.predictions]
        against = base[cell.recommender]
        row = f"| {cell.recommender} | {cell.method} | {np.mean(aucs):.4f} | {np.mean(losses):.4f} |"
        if cell is against:
            lines.append(f"{row} | |")
            continue
        gain = np.mean(aucs) - np.mean([auc(label, p) for p in against.predictions])
        low, high = _interval(label, cell.predictions, against.predictions, picks)
        lines.append(f"{row} {gain:+.4f} | {low:+.4f} to {high:+.4f} |")
    return "\n".join(lines) + "\n"


def _resamples(users: pl.Series) -> list[NDArray[np.int64]]:
    """Row indices of test sets whose users were drawn with replacement."""
    order = np.argsort(users.to_numpy(), kind="stable")
    counts = np.unique(users.to_numpy()[order], return_counts=True)[1]
    parts = np.split(order, np.cumsum(counts)[:-1])
    draw = np.random.default_rng(0)
    return [np.concatenate([parts[k] for k in draw.integers(len(parts), size=len(parts))]) for _ in range(RESAMPLES)]


def _interval(label: Scores, mine: Scores, other: Scores, picks: list[NDArray[np.int64]]) -> tuple[float, float]:
    gains = []
    for pick in picks:
        if label[pick].min() == label[pick].max():
            continue
        pairs = zip(mine[:, pick], other[:, pick], strict=True)
        gains.append(np.mean([auc(label[pick], a) - auc(label[pick], b) for a, b in pairs]))
    low, high = np.quantile(gains, [0.025, 0.975]) if gains else (np.nan, np.nan)
    return float(low), float(high)
