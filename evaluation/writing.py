"""What an evaluation leaves for people and programs.

quality.json   a list of rows, one per method, recommender, variant and seed: figures of test and valid rows
results.json   per experiment: means over seeds, and the paired difference to constant codes with its 95 % interval
report.md, report.html   the same for people
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from userip.evaluation.intervals import Bootstrap, Difference, Figures
from userip.evaluation.results import BASE, SECTIONS, Results, Scored
from userip.evaluation.sections import build_report
from userip.files import json_text, write_text
from userip.reporting.markdown import markdown
from userip.reporting.page import html
from userip.training.progress import track
from userip.training.recommender.metrics import auc, evaluate, logloss

RESAMPLES: Final = {"quick": 400, "full": 1000}
Rows = list[dict[str, Any]]


def write_reports(results: Results, out: Path) -> None:
    """Write all of it to `out`, each file whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    rows = quality_rows(results)
    write_text(out / "quality.json", json_text(rows))
    summary = summarise(results)
    write_text(out / "results.json", json_text(summary))
    report = build_report(results)
    write_text(out / "report.md", markdown(report))
    write_text(out / "report.html", html(report))


def quality_rows(results: Results) -> Rows:
    """One row per result."""
    users, labels, valid = results.test["user_id"], results.test["label"], results.valid["label"]
    rows = []
    for one in track(results.scored, label="figures"):
        figures = evaluate(users, labels, one.test)
        rows.append(
            {
                "dataset": results.dataset, "split": results.split, "method": one.result.method,
                "recommender": one.result.recommender, "section": one.result.section, "variant": one.result.variant,
                "seed": one.result.seed, **figures, "valid_auc": auc(valid, one.valid),
                "valid_logloss": logloss(valid, one.valid), **one.settings, "seconds": round(one.seconds, 2),
            }
        )  # fmt: skip
    return rows


def summarise(results: Results) -> dict[str, Any]:
    """Means over seeds and intervals, and everything else that is a number in the report."""
    bootstrap = Bootstrap(results.test["user_id"], results.test["label"], RESAMPLES[results.preset])
    made: dict[tuple[int, ...], Figures] = {}

    def figures(cells: Sequence[Scored]) -> Figures:
        key = tuple(id(one) for one in cells)
        if key not in made:
            made[key] = bootstrap.figures(np.stack([one.test for one in cells]), "auc")
        return made[key]

    lines = []
    todo = [(section, line) for section in SECTIONS for line in results.rows_of(section)]
    for section, (method, recommender, variant) in track(todo, label="intervals"):
        mine = results.of(section, method, recommender, variant)
        aucs = [auc(results.test["label"], one.test) for one in mine]
        losses = [logloss(results.test["label"], one.test) for one in mine]
        entry: dict[str, Any] = {
            "section": section, "method": method, "recommender": recommender, "variant": variant,
            "seeds": [one.result.seed for one in mine], "auc": float(np.mean(aucs)), "logloss": float(np.mean(losses)),
            "settings": mine[0].settings,
        }  # fmt: skip
        other = results.of(section, BASE, recommender) if method != BASE else []
        pairs = _paired(mine, other)
        if pairs:
            difference = bootstrap.difference(*(figures([pair[side] for pair in pairs]) for side in (0, 1)))
            entry[f"minus_{BASE}"] = _stated(difference)
        lines.append(entry)
    return {
        "dataset": results.dataset, "split": results.split, "split_hash": results.split_hash,
        "preset": results.preset, "seeds": results.seeds,
        "test_rows": results.test.height, "test_users": results.test["user_id"].n_unique(), "lines": lines,
        "learning_curve": _curve(results), "agreement": dict(results.agreement),
        "codebooks": [asdict(book) for book in results.codebooks], "probe": dict(results.probe),
        "failures": [asdict(failure) for failure in results.failures],
        "timings": [asdict(timing) for timing in results.timings],
        "settings": dict(results.settings), "grid": dict(results.grid), "versions": dict(results.versions),
    }  # fmt: skip


def _paired(mine: Sequence[Scored], other: Sequence[Scored]) -> list[tuple[Scored, Scored]]:
    """The results of the same seeds."""
    by_seed = {one.result.seed: one for one in other}
    return [(one, by_seed[one.result.seed]) for one in mine if one.result.seed in by_seed]


def _curve(results: Results) -> dict[str, Any] | None:
    """AUC per method, number of items and seed."""
    curve, label = results.curve, results.test["label"]
    if curve is None:
        return None
    methods = {
        method: {str(items): [auc(label, one) for one in lines] for items, lines in by_items.items()}
        for method, by_items in curve.predictions.items()
    }
    references = {method: [auc(label, one) for one in lines] for method, lines in curve.references.items()}
    return {"items": list(curve.items), "auc": methods, "references": references}


def _stated(difference: Difference) -> dict[str, Any]:
    return {
        "mean": difference.mean, "low": difference.low, "high": difference.high,
        "per_seed": [float(one) for one in difference.per_seed],
    }  # fmt: skip
