"""`userip evaluate`: every claim of the paper on one data set, method by method and seed by seed.

1. Profiles for every seed, and for every ablation (REPORT/runs).
2. Sections: a search on validation with seed 0, alike for every method; then all seeds (REPORT/cells).
3. The learning curve of unseen users, and what the codes mean.
4. The labels of the test rows are read, once, and the reports written: quality.json, results.json, report.md, .html.

Everything is kept as it is made. A killed evaluation goes on where it was; a repeated one fits nothing.
"""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl

from userip.disk import room_for
from userip.evaluation.explain.run import RunExplanation
from userip.evaluation.fits.fitting import Fitting
from userip.evaluation.fits.runs import codebooks_of, probe_of
from userip.evaluation.plan import GRID, Preset
from userip.evaluation.results import SECTIONS, LearningCurve, Results
from userip.evaluation.session import TRAINING_PRESET, Session
from userip.evaluation.writing import write_reports
from userip.training.config import load_config
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError, EmptyDataError, EvaluationError
from userip.training.recommender.fit import labelled_rows
from userip.training.run import locked


def evaluate_dataset(
    path: Path,
    out: Path,
    preset: Preset,
    seeds: int,
    config: Path | None = None,
    settings: Iterable[str] = (),
    *,
    workers: int = 0,
    most_runs: int | None = None,
    only: Iterable[str] = (),
) -> Results:
    """Do all of it. `workers`: processes that fit; 0 is one per core, 1 none beside this one.

    most_runs  seeds that profiles are inferred with, at most; only  sections of the plan, by default all of it.

    Raises ConfigError for settings or a report directory that cannot be, EmptyDataError for rows that no AUC can be
    taken of, DiskFullError, and EvaluationError, after everything else is written, where a part went wrong.
    """
    dataset = Dataset.open(path)
    settings = tuple(settings)
    wanted = set(only)
    if unknown := sorted(wanted - set(SECTIONS)):
        raise ConfigError(f"--only {unknown[0]}: no such section; there are {', '.join(SECTIONS)}")
    base = load_config(TRAINING_PRESET[preset], config, settings)
    _check_rows(dataset)
    fitting = Fitting(dataset, out, workers or os.cpu_count() or 1)
    session = Session(
        dataset,
        out,
        preset,
        seeds,
        base,
        config,
        settings,
        fitting,
        most_runs,
        tuple(section for section in SECTIONS if section in wanted),
    )
    with locked(out, "report"), room_for(out):
        session.make_profiles()
        for section in SECTIONS:
            session.do_section(section)
        curve = session.attempt("learning curve", session.curve)
        explanation = session.attempt("explanation", session.explain)
        results = _results(session, curve, explanation)
        write_reports(results, out)
    if wrong := [failure for failure in results.failures if not failure.skipped]:
        raise EvaluationError(
            f"{len(wrong)} parts failed, the first: {wrong[0].what}: {wrong[0].reason} "
            f"(all are in {out / 'report.md'}; the same command tries them again)"
        )
    return results


def _check_rows(dataset: Dataset) -> None:
    """Raise EmptyDataError now and not after the profiles. Of the test rows only the number is looked at."""
    for part in ("train", "valid"):
        labelled_rows(dataset, part)
    if dataset.test_pairs().is_empty():
        raise EmptyDataError(f"{dataset.path}: test rows: none; more data or another split is needed")


def _results(session: Session, curve: LearningCurve | None, explanation: RunExplanation | None) -> Results:
    """All that was made, and now the labels of the test rows."""
    dataset, runs = session.dataset, session.per_seed()
    return Results(
        dataset=dataset.name,
        split=dataset.info.split,
        preset=session.preset,
        method=session.base.method,
        seeds=session.seeds,
        counts=dataset.info.counts,
        positive_above=dataset.info.positive_above,
        valid=dataset.rows("valid").select("user_id", "item_id", "label"),
        test=dataset.final_eval().select("user_id", "item_id", "label"),
        activity=_activity(dataset),
        scored=session.scored,
        curve=curve,
        agreement=session.agreement(),
        codebooks=[book for profiles in runs for book in codebooks_of(profiles)],
        explanation=explanation,
        probe={profiles.seed: probe_of(profiles) for profiles in runs},
        settings=session.base.model_dump(mode="json"),
        failures=session.fitting.failures,
        timings=session.timings,
        split_hash=dataset.split_hash,
        grid=_searched(session),
        versions=_versions(),
        inferred=session.runs,
    )


def _activity(dataset: Dataset) -> pl.DataFrame:
    """Train and history rows of every test user."""
    users = dataset.test_pairs().select("user_id").unique().sort("user_id")
    counts = dataset.rows("train", "history").group_by("user_id").agg(rows=pl.len().cast(pl.Int64))
    joined = users.join(counts, on="user_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("rows").fill_null(0))


def _searched(session: Session) -> dict[str, list[Any]]:
    """Setting -> values of the grid that every method has, the configured one first."""
    fit = session.base.fit.model_dump(mode="json")
    grid = GRID[session.preset]
    names = dict.fromkeys(name for point in grid for name in point)
    return {name: list(dict.fromkeys([fit[name], *(point[name] for point in grid if name in point)])) for name in names}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("userip", "torch", "transformers", "polars"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # userip from a checkout
            continue
    return found
