"""The fit step: RUN/fit/{recommender.safetensors, encoder.json, metrics.json}."""

import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from userip.files import finite
from userip.training.data.dataset import Dataset
from userip.training.formulas import CHEAP
from userip.training.formulas.probabilities import best_formula
from userip.training.quantize.codebook_usage import has_collapsed, perplexity
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.fit import FittedRecommender, fit_recommender
from userip.training.recommender.metrics import evaluate
from userip.training.recommender.storage import write_recommender

METRICS: Final = "metrics.json"
MOST_ROWS: Final = 2_000_000  # of train that a formula is fitted to: 12 s for a million


def run_fit(dataset: Dataset, run: Path, out: Path, fit: RecommenderConfig, seed: int) -> dict[str, Any]:
    """Fit on RUN/quantize's codes, read the test rows once, write to `out`, and return the figures."""
    codes = None if fit.codes == "none" else CodeTable.read(run / "quantize", dataset.split_hash)
    fitted = fit_recommender(dataset, codes, fit, seed, label="fit")
    metrics = measure(fitted, dataset.rows("valid"), dataset.final_eval())
    write_recommender(fitted, out)
    (out / METRICS).write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    return {name: metrics[name] for name in ("valid", "test", "formula", "epochs")}


def measure(fitted: FittedRecommender, valid: pl.DataFrame, test: pl.DataFrame) -> dict[str, Any]:
    """The content of `metrics.json`: both parts, beside them the constant-rate predictor and the best cheap formula,
    and what was known.

    A figure that is not defined (an AUC of rows of one label) is null.
    """
    rate = float(fitted.dataset.rows("train")["label"].mean())  # type: ignore[arg-type]
    parts = {"valid": valid, "test": test}
    metrics: dict[str, Any] = finite(
        {
            **{part: fitted.evaluate(rows) for part, rows in parts.items()},
            "constant_rate": {
                "rate": rate,
                **{
                    part: evaluate(rows["user_id"], rows["label"], np.full(rows.height, rate))
                    for part, rows in parts.items()
                },
            },
            "formula": _formula(fitted.dataset, parts),
            "coverage": {part: _coverage(fitted, rows) for part, rows in parts.items()},
            "codebooks": _codebooks(fitted),
            "rows": {part: rows.height for part, rows in parts.items()},
            "epochs": len(fitted.log),
            "seed": fitted.seed,
            "split_hash": fitted.dataset.split_hash,
        }
    )
    return metrics


def _formula(dataset: Dataset, parts: dict[str, pl.DataFrame]) -> dict[str, Any] | None:
    """The best cheap formula by validation, name and figures of both parts; None for more rows than it is worth."""
    if dataset.rows("train").height > MOST_ROWS:
        return None
    best = best_formula(dataset, CHEAP)
    return {
        "name": best.name,
        **{part: evaluate(rows["user_id"], rows["label"], best.predict(rows)) for part, rows in parts.items()},
    }


def _coverage(fitted: FittedRecommender, rows: pl.DataFrame) -> dict[str, float]:
    """Share of the rows whose user row, codes and item the recommender knows."""
    encoded = fitted.rows(rows)
    named = (("user", "user_row"), ("codes", "code"), ("item", "item_row"))
    known = {}
    for name, source in named:
        places = fitted.encoder.positions(source)  # type: ignore[arg-type]
        if places:
            known[name] = float((encoded[:, places] > 0).all(axis=1).mean()) if rows.height else math.nan
    return known


def _codebooks(fitted: FittedRecommender) -> list[dict[str, Any]]:
    """Per facet: size, share of users per code, perplexity; and what else the quantize step said of it."""
    if fitted.codes is None:
        return []
    said = {facet["name"]: facet for facet in fitted.codes.facets}
    books = []
    for facet, size in fitted.codes.sizes.items():
        usage = fitted.codes.usage(facet)
        in_use = perplexity(usage)
        book = {"facet": facet, "size": size, "usage": usage, "perplexity": in_use}
        if fitted.config.codes == "profile":
            extra = {key: value for key, value in said.get(facet, {}).items() if key not in (*book, "name")}
            book |= extra
            # Of the figures beside it: the quantize step has not counted the users held out of training.
            book["collapsed"] = has_collapsed(in_use, size)
        books.append(book)
    return books
