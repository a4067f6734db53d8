"""What an evaluation leaves for people and programs.

quality.json   a list of rows, one per method, recommender, variant and seed: figures of test and valid rows
results.json   per experiment: means over seeds, and the paired difference to constant codes with its 95 % interval
report.md, report.html   the same for people
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from userip.evaluation.results import BASE, SECTIONS, Results
from userip.evaluation.sections import build_report
from userip.evaluation.sections.comparisons import Comparisons
from userip.evaluation.sections.tables import COMPARED
from userip.files import json_text, write_text
from userip.reporting.markdown import markdown
from userip.reporting.page import html
from userip.training.progress import track
from userip.training.recommender.metrics import auc, evaluate, logloss

Rows = list[dict[str, Any]]


def write_reports(results: Results, out: Path) -> None:
    """Write all of it to `out`, each file whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    compare = Comparisons(results)
    write_text(out / "quality.json", json_text(quality_rows(results)))
    write_text(out / "results.json", json_text(summarise(compare)))
    report = build_report(compare)
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


def summarise(compare: Comparisons) -> dict[str, Any]:
    """Means over seeds and intervals, and everything else that is a number in the report."""
    results, lines = compare.results, []
    for row in track([row for section in SECTIONS for row in compare.rows(section)], label="intervals"):
        measures = compare.measures(row)
        entry: dict[str, Any] = {
            "section": row.section, "method": row.method, "recommender": row.recommender, "variant": row.variant,
            "seeds": list(row.seeds), **measures, "settings": row.scored[0].settings,
        }  # fmt: skip
        base = compare.row(row.section, BASE, row.recommender) if row.method != BASE else None
        if base and (difference := compare.difference(row, base)).per_seed:
            entry[f"minus_{BASE}"] = asdict(difference)
            entry[f"minus_{BASE}_within"] = {
                one: asdict(compare.difference(row, base, one)) for one in COMPARED if one != "auc"
            }
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
