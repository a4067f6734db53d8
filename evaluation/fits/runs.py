"""Runs that an evaluation makes: one per seed, one per ablation, each step once.

REPORT/runs/steps/<step>-<hash>/   a run directory that stops at that step: language or infer
REPORT/runs/seed-<s>/, <variant>/  links to the two, and the quantize step of its own

The language model is trained once, with seed 0, and read by all runs of the same language, history and facets: a
seed is inference, quantization and recommender. Codebook sizes change nothing before quantization.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from userip.evaluation.results import Codebook, Timing
from userip.files import beside
from userip.training.config import TrainConfig, load_config
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError
from userip.training.files import read_json
from userip.training.language.config import FacetConfig
from userip.training.methods.protocol import Variation
from userip.training.recommender.codes import QUANTIZE, CodeTable
from userip.training.run import fingerprint, read_step, run_step, steps_of

LANGUAGE_SEED: Final = 0
LAST: Final = "quantize"
THIRD: Final = FacetConfig(name="interest", phrase=" The user's interest is", filler="none")


@dataclass(frozen=True)
class Profiles:
    """A finished run: where its codes are, and what they depend on."""

    run: Path
    config: TrainConfig
    seed: int
    marks: Mapping[str, str]

    @property
    def mark(self) -> str:
        """What its codes depend on."""
        return self.marks[LAST]

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each of a user's codes."""
        return self.config.code_sizes

    def codes(self, split_hash: str) -> CodeTable:
        """The codes of its users."""
        return CodeTable.read(self.run / "quantize", split_hash)


def make_profiles(dataset: Dataset, runs: Path, name: str, config: TrainConfig, seed: int) -> Profiles:
    """Do the steps of a run that are not done yet."""
    steps = runs / "steps"
    todo = profile_steps(config)
    marks = {step: fingerprint(step, dataset, config, seed, LANGUAGE_SEED) for step in todo}
    homes = {step: steps / f"{step}-{marks[step][:16]}" for step in todo[:-1]}
    homes[LAST] = runs / re.sub(r"[^a-z0-9=]+", "-", name.lower()).strip("-")
    before: list[str] = []
    for step, home in homes.items():
        for other in before:
            _link(homes[other] / other, home / other)
        run_step(step, dataset, home, config, seed, LANGUAGE_SEED)
        before.append(step)
    return Profiles(homes[LAST], config, seed, marks)


def profile_steps(config: TrainConfig) -> list[str]:
    """The steps that end in codes."""
    steps = steps_of(config)
    return steps[: steps.index(LAST) + 1]


def varied(
    variation: Variation, base: TrainConfig, file: Path | None, settings: Iterable[str], preset: str
) -> TrainConfig:
    """The configuration of a variation. The recommender's settings stay those of `base`: it is tuned as all are.

    Raises ConfigError where the method has no such settings, facets or preset.
    """
    config = base
    if variation.settings or variation.preset:
        config = load_config(variation.preset or preset, file, (*settings, *variation.settings))
    facets: tuple[FacetConfig, ...] = config.facets
    if (variation.facets or variation.size) and not config.profile_method.needs_language:
        raise ConfigError(f"the facets of method {config.method!r} are its own settings")
    if variation.facets is not None:
        facets = (*facets, THIRD)[: variation.facets]
    if variation.size is not None:
        facets = tuple(facet.model_copy(update={"size": variation.size}) for facet in facets)
    return TrainConfig.model_validate(config.model_dump() | {"facets": facets, "fit": base.fit})


def codebooks_of(profiles: Profiles) -> list[Codebook]:
    """Usage and perplexity of a run's codebooks."""
    summary = read_json(profiles.run / "quantize" / QUANTIZE, "quantize")
    return [
        Codebook(
            profiles.seed, facet["name"], facet["size"], tuple(facet["usage"]), facet["perplexity"], facet["collapsed"]
        )
        for facet in summary["facets"]
    ]


def probe_of(profiles: Profiles) -> dict[str, Any]:
    """What held-out items of train users say of a run's profiles (nats per item)."""
    record = read_step(profiles.run / "infer")
    found: dict[str, Any] = record["figures"].get("probe", {}) if record else {}
    return found


def timings_of(profiles: Profiles, name: str) -> list[Timing]:
    """What the steps of a run took, whenever they were done; a step that runs share stands with each."""
    records = [(step, read_step(profiles.run / step)) for step in profiles.marks]
    return [
        Timing(f"{name}, {step}", record["seconds"], record["peak_memory_mb"]) for step, record in records if record
    ]


def _link(target: Path, place: Path) -> None:
    """Make `place` a link to the folder `target`, relative: a report can be moved."""
    place.parent.mkdir(parents=True, exist_ok=True)
    wanted = Path(os.path.relpath(target, place.parent))
    if place.is_symlink() and place.readlink() == wanted:
        return
    with beside(place) as partial:
        partial.unlink(missing_ok=True)
        partial.symlink_to(wanted)
