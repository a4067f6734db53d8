"""An evaluation under way: profiles, sections, learning curve and explanation, each kept as it is made."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from userip.evaluation.cells import WHOLE_MACHINE, Task, reason_of
from userip.evaluation.explain.run import RunExplanation, explain_run
from userip.evaluation.fitting import Fitting
from userip.evaluation.intervals import code_agreement
from userip.evaluation.learning_curve import Cut, learning_curve
from userip.evaluation.plan import (
    ABLATIONS,
    CURVE_METHODS,
    CURVE_SEEDS,
    NO_FIELD,
    NOT_THERE,
    RUNS,
    SWEEPS,
    Changes,
    Line,
    Preset,
    grid_of,
    plan,
)  # fmt: skip
from userip.evaluation.requirements import missing_for
from userip.evaluation.results import Cell, LearningCurve, Predictions, Scored, Section
from userip.evaluation.runs import Profiles, make_profiles, timings_of, varied
from userip.evaluation.timer import Clock
from userip.training.config import TrainConfig
from userip.training.data.dataset import Dataset
from userip.training.progress import duration
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.metrics import auc

log = logging.getLogger(__name__)
T = TypeVar("T")
TRAINING_PRESET: Final[dict[Preset, str]] = {"quick": "quick", "full": "default"}
WITHOUT_PROFILES: Final = ("none", "constant-rate", "retrained", "kar-style")


@dataclass
class Session:
    """What is evaluated, with which settings, and what has come of it so far.

    base, file, settings  the configuration, and the --config and --set that it came from
    profiles              finished runs of (variant, seed)
    most_runs, only       fewer seeds of inference than the preset has, and only these sections
    chosen                what the search found for each line
    """

    dataset: Dataset
    out: Path
    preset: Preset
    seeds: int
    base: TrainConfig
    file: Path | None
    settings: tuple[str, ...]
    fitting: Fitting
    most_runs: int | None = None
    only: tuple[Section, ...] = ()
    profiles: dict[tuple[str, int], Profiles] = field(default_factory=dict)
    chosen: dict[Line, RecommenderConfig] = field(default_factory=dict)
    scored: list[Scored] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    @property
    def lines(self) -> list[Line]:
        """What the plan has for this data set."""
        lines = plan(self.preset, self.dataset.info.split)
        return [line for line in lines if not self.only or line.section in self.only]

    @property
    def runs(self) -> int:
        """Seeds that profiles are inferred with."""
        return min(self.seeds, RUNS[self.preset] or self.seeds, self.most_runs or self.seeds)

    def per_seed(self) -> list[Profiles]:
        """The finished runs of the seeds."""
        return [one for (variant, _), one in self.profiles.items() if not variant]

    def make_profiles(self) -> None:
        """A run per seed, and one per ablation and step of a sweep where the plan has them."""
        wanted = [("", seed, f"seed-{seed}", self.base) for seed in range(self.runs)]
        variants = dict.fromkeys(line.variant for line in self.lines if line.variant)
        known = ABLATIONS | SWEEPS
        for variant in variants:
            change = partial(varied, known[variant], self.base, self.file, self.settings, TRAINING_PRESET[self.preset])
            changed = self.attempt(variant, change)
            if changed is not None:
                wanted.append((variant, 0, variant, changed))
        begun = time.monotonic()
        for number, (variant, seed, name, config) in enumerate(wanted):
            # The steps show their own progress: two bars at once would overwrite each other.
            left = (time.monotonic() - begun) / max(number, 1) * (len(wanted) - number)
            said = f", about {duration(left)} left" if number else ""
            log.info("profiles %d of %d: %s%s", number + 1, len(wanted), name, said)
            made = self.attempt(
                f"profiles, {name}", partial(make_profiles, self.dataset, self.out / "runs", name, config, seed)
            )
            if made is not None:
                self.profiles[variant, seed] = made
                self.clock.timings += timings_of(made, name)

    def do_section(self, section: Section) -> None:
        """Search with seed 0, then fit with every seed."""
        lines = [line for line in self.lines if line.section == section and self._possible(line)]
        if not lines:
            return
        if section == "ablations":
            for what, why in NOT_THERE.items():
                self.fitting.skip(f"ablations, {what}", why)
        with self.clock.measure(f"section {section}"):
            self._search(lines)
            tasks = [task for line in lines if line in self.chosen for task in self._seeds(line)]
            self.fitting.run(tasks, f"{section}, seeds")
            self.scored += [one for task in tasks if (one := self._scored(task)) is not None]

    def curve(self) -> LearningCurve | None:
        """The learning curve of unseen users, for a users split."""
        if self.dataset.info.split != "users":
            return None
        cuts = [
            Cut(Task(line, seed, settings, self.profiles["", 0]))
            for line, settings in self.chosen.items()
            if line.section == "controls" and line.method in CURVE_METHODS and line.recommender == f"dcn{NO_FIELD}"
            for seed in range(min(CURVE_SEEDS, self.seeds))
        ]
        if not cuts:  # the controls were not asked for, or went wrong
            return None
        references: dict[str, Predictions] = {}
        for method in ("none", "retrained"):
            found = {one.cell.seed: one.test for one in self.scored if one.cell[:3] == ("controls", method, "dcn")}
            # Line s is seed s, as in the predictions: behind a seed that failed, the pairs would be of other seeds.
            if seeds := list(takewhile(found.__contains__, range(CURVE_SEEDS))):
                references[method] = np.stack([found[seed] for seed in seeds])
        with self.clock.measure("learning curve"):
            return learning_curve(self.dataset, self.out, cuts, references)

    def explain(self) -> RunExplanation | None:
        """What the codes of seed 0 mean; None where they went wrong, which stands among the failures."""
        if ("", 0) not in self.profiles:
            return None
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
            self.fitting.fail(what, reason_of(error))
            return None

    def _possible(self, line: Line) -> bool:
        why = missing_for(line, self.dataset)
        if why:
            self.fitting.skip(str(line), why)
        return not why

    def _search(self, lines: list[Line]) -> None:
        """Fit the grid of every line with seed 0; the best validation AUC wins, the first of equals."""
        points = {line: self._points(line) for line in lines}
        tasks = [task for found in points.values() if len(found) > 1 for task in found]
        self.fitting.run(tasks, f"{lines[0].section}, search")
        labels = self.dataset.rows("valid")["label"]
        for line, found in points.items():
            if len(found) == 1:
                self.chosen[line] = found[0].settings
                continue
            stored = [(task, self.fitting.stored(task)) for task in found]
            scores = [(auc(labels, made.valid), task) for task, made in stored if made is not None]
            if scores:
                self.chosen[line] = max(scores, key=lambda pair: pair[0])[1].settings

    def _points(self, line: Line) -> list[Task]:
        changed = [self.base.fit.model_copy(update=dict(changes)) for changes in _distinct(grid_of(self.preset, line))]
        return [task for settings in changed if (task := self._task(line, 0, settings)) is not None]

    def _seeds(self, line: Line) -> list[Task]:
        count = self.seeds if line.seeds is None else min(line.seeds, self.seeds)
        found = [self._task(line, seed, self.chosen[line]) for seed in range(count)]
        return [task for task in found if task is not None]

    def _task(self, line: Line, seed: int, settings: RecommenderConfig) -> Task | None:
        """One fit of a line; None where its profiles failed, which has been said."""
        settings = settings.model_copy(update={"user_field": line.user_field})
        if line.method in WITHOUT_PROFILES:
            return Task(line, seed, settings, None)
        one_run = line.one_run or line.method in WHOLE_MACHINE
        profiles = self.profiles.get((line.variant, 0 if one_run else seed % self.runs))
        return None if profiles is None else Task(line, seed, settings, profiles)

    def _scored(self, task: Task) -> Scored | None:
        stored = self.fitting.stored(task)
        if stored is None:
            return None
        line = task.line
        cell = Cell(line.section, line.method, line.recommender, line.variant, task.seed)
        tuned = {name for point in grid_of(self.preset, line) for name in point}
        settings = task.settings.model_dump(mode="json", include=tuned)
        return Scored(cell, stored.valid, stored.test, settings, stored.seconds)


def _distinct(grid: tuple[Changes, ...]) -> list[Changes]:
    return [point for number, point in enumerate(grid) if point not in grid[:number]]
