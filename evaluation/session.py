"""An evaluation under way: profiles, sections, learning curve and explanation, each kept as it is made."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Final, TypeVar

import numpy as np

from userip.evaluation.explain.run import RunExplanation, explain_run
from userip.evaluation.fits.fitting import Fitting
from userip.evaluation.fits.runs import Profiles, make_profiles, timings_of, varied
from userip.evaluation.fits.trials import WHOLE_MACHINE, Trial, reason_of
from userip.evaluation.intervals import code_agreement
from userip.evaluation.learning_curve import Cut, learning_curve
from userip.evaluation.plan import (
    CURVE_CONTROL,
    CURVE_SEEDS,
    NO_FIELD,
    RUNS,
    WITHOUT_SETTINGS,
    Changes,
    Experiment,
    Preset,
    ablations_of,
    grid_of,
    plan,
    variations_of,
)  # fmt: skip
from userip.evaluation.requirements import missing_for
from userip.evaluation.results import LearningCurve, Predictions, Result, Scored, Section, Timing
from userip.training.config import TrainConfig
from userip.training.data.dataset import NEW_USERS, Dataset
from userip.training.errors import ConfigError
from userip.training.progress import duration
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.metrics import auc

log = logging.getLogger(__name__)
T = TypeVar("T")
TRAINING_PRESET: Final[dict[Preset, str]] = {"quick": "quick", "full": "default"}
WITHOUT_PROFILES: Final = ("none", *WITHOUT_SETTINGS, "retrained", "kar-style")


@dataclass
class Session:
    """What is evaluated, with which settings, and what has come of it so far.

    base, file, settings  the configuration, and the --config and --set that it came from
    profiles              finished runs of (variant, seed)
    most_runs, only       fewer seeds of inference than the preset has, and only these sections
    chosen                what the search found for each experiment
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
    chosen: dict[Experiment, RecommenderConfig] = field(default_factory=dict)
    scored: list[Scored] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)

    @property
    def experiments(self) -> list[Experiment]:
        """What the plan has for this data set."""
        experiments = plan(self.preset, self.dataset.info.split, self.base.method)
        return [one for one in experiments if not self.only or one.section in self.only]

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
        variants = dict.fromkeys(experiment.variant for experiment in self.experiments if experiment.variant)
        known = variations_of(self.base.method)
        for variant in variants:
            try:
                preset = TRAINING_PRESET[self.preset]
                changed = varied(known[variant], self.base, self.file, self.settings, preset)
            except ConfigError as error:  # not every method has what is varied
                self.fitting.skip(variant, reason_of(error))
            else:
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
                self.timings += timings_of(made, name)

    def do_section(self, section: Section) -> None:
        """Search with seed 0, then fit with every seed."""
        experiments = [one for one in self.experiments if one.section == section and self._possible(one)]
        if not experiments:
            return
        if section == "ablations":
            for what, variation in ablations_of(self.base.method).items():
                if variation.impossible:
                    self.fitting.skip(f"ablations, {what}", variation.impossible)
        with self.measure(f"section {section}"):
            self._search(experiments)
            trials = [trial for one in experiments if one in self.chosen for trial in self._seeds(one)]
            self.fitting.run(trials, f"{section}, seeds")
            self.scored += [one for trial in trials if (one := self._scored(trial)) is not None]

    def curve(self) -> LearningCurve | None:
        """The learning curve of unseen users, where users are held out."""
        if self.dataset.info.split not in NEW_USERS:
            return None
        methods = (self.base.method, CURVE_CONTROL)
        cuts = [
            Cut(Trial(one, seed, settings, self.profiles["", 0]))
            for one, settings in self.chosen.items()
            if one.section == "controls" and one.method in methods and one.recommender == f"dcn{NO_FIELD}"
            for seed in range(min(CURVE_SEEDS, self.seeds))
        ]
        if not cuts:  # the controls were not asked for, or went wrong
            return None
        references: dict[str, Predictions] = {}
        for method in ("none", "retrained"):
            found = {one.result.seed: one.test for one in self.scored if one.result[:3] == ("controls", method, "dcn")}
            # Line s is seed s, as in the predictions: behind a seed that failed, the pairs would be of other seeds.
            if seeds := list(takewhile(found.__contains__, range(CURVE_SEEDS))):
                references[method] = np.stack([found[seed] for seed in seeds])
        with self.measure("learning curve"):
            return learning_curve(self.dataset, self.out, cuts, references)

    def explain(self) -> RunExplanation | None:
        """What the codes of seed 0 mean; None where they went wrong, which stands among the failures."""
        if ("", 0) not in self.profiles:
            return None
        with self.measure("explanation"):
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

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Wall time of a part, and the peak memory until its end: of this process or its largest child that ended."""
        begun = time.monotonic()
        yield
        peak = max(getrusage(whose).ru_maxrss for whose in (RUSAGE_SELF, RUSAGE_CHILDREN))
        self.timings.append(Timing(what, round(time.monotonic() - begun, 1), round(peak / 1024, 1)))

    def _possible(self, experiment: Experiment) -> bool:
        why = missing_for(experiment, self.dataset, self.base)
        if why:
            self.fitting.skip(str(experiment), why)
        return not why

    def _search(self, experiments: list[Experiment]) -> None:
        """Fit the grid of every experiment with seed 0; the best validation AUC wins, the first of equals."""
        points = {experiment: self._points(experiment) for experiment in experiments}
        trials = [trial for found in points.values() if len(found) > 1 for trial in found]
        self.fitting.run(trials, f"{experiments[0].section}, search")
        labels = self.dataset.rows("valid")["label"]
        for experiment, found in points.items():
            if len(found) == 1:
                self.chosen[experiment] = found[0].settings
                continue
            stored = [(trial, self.fitting.stored(trial)) for trial in found]
            scores = [(auc(labels, made.valid), trial) for trial, made in stored if made is not None]
            if scores:
                self.chosen[experiment] = max(scores, key=lambda pair: pair[0])[1].settings

    def _points(self, experiment: Experiment) -> list[Trial]:
        grid = _distinct(grid_of(self.preset, experiment))
        changed = [self.base.fit.model_copy(update=dict(changes)) for changes in grid]
        return [trial for settings in changed if (trial := self._trial(experiment, 0, settings)) is not None]

    def _seeds(self, experiment: Experiment) -> list[Trial]:
        count = self.seeds if experiment.seeds is None else min(experiment.seeds, self.seeds)
        found = [self._trial(experiment, seed, self.chosen[experiment]) for seed in range(count)]
        return [trial for trial in found if trial is not None]

    def _trial(self, experiment: Experiment, seed: int, settings: RecommenderConfig) -> Trial | None:
        """One fit of an experiment; None where its profiles failed, which has been said."""
        settings = settings.model_copy(update={"user_field": experiment.user_field})
        if experiment.method in WITHOUT_PROFILES:
            return Trial(experiment, seed, settings, None)
        one_run = experiment.one_run or experiment.method in WHOLE_MACHINE
        profiles = self.profiles.get((experiment.variant, 0 if one_run else seed % self.runs))
        return None if profiles is None else Trial(experiment, seed, settings, profiles)

    def _scored(self, trial: Trial) -> Scored | None:
        stored = self.fitting.stored(trial)
        if stored is None:
            return None
        experiment = trial.experiment
        result = Result(experiment.section, experiment.method, experiment.recommender, experiment.variant, trial.seed)
        tuned = {name for point in grid_of(self.preset, experiment) for name in point}
        settings = trial.settings.model_dump(mode="json", include=tuned)
        return Scored(result, stored.valid, stored.test, settings, stored.seconds)


def _distinct(grid: tuple[Changes, ...]) -> list[Changes]:
    return [point for number, point in enumerate(grid) if point not in grid[:number]]
