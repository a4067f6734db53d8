"""What an evaluation does, as data: the experiments of every section, the search, the ablations and the sweeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from userip.evaluation.controls import CONTROLS
from userip.evaluation.results import Section
from userip.models.recommenders import RECOMMENDERS
from userip.training.data.dataset import NEW_USERS, Split
from userip.training.formulas import FORMULAS
from userip.training.methods import METHODS
from userip.training.methods.protocol import Variation

Preset = Literal["quick", "full"]
Changes = Mapping[str, Any]

# The search of every method with every recommender: changes of `fit`, the first of which is none. All fitted with
# seed 0, the best validation AUC is kept.
GRID: Final[dict[Preset, tuple[Changes, ...]]] = {
    "quick": ({}, {"weight_decay": 1e-4}, {"weight_decay": 1e-3}),
    "full": (
        {},
        {"weight_decay": 1e-4},
        {"weight_decay": 1e-3},
        {"dropout": 0.2},
        {"dropout": 0.2, "weight_decay": 1e-3},
    ),
}
GRID_OF: Final[dict[str, tuple[Changes, ...]]] = {"deepfm": ({"mlp": ()},)}  # further points of one recommender

# Inference is what a quick evaluation spends its time on: seed s takes the profiles of seed s mod 2.
RUNS: Final[dict[Preset, int | None]] = {"quick": 2, "full": None}

SHAPED: Final = ("constant", "random", "shuffled")  # controls that only borrow the shape of the codes
NO_FIELD: Final = "-no-user-field"
OWN: Final = tuple(RECOMMENDERS)
LIBRARY: Final = ("afm", "fibinet", "difm", "afn", "autoint", "onn")  # of the extra `baselines`
TRANSFER: Final = ("pnn", "dcnv2", "deepfm")
LANGUAGE_ROWS: Final = {"kar-style": None, "pepler-style": 2, "rella-style": 1}  # seeds at most; None: all
TUNES_LANGUAGE: Final = ("pepler-style", "rella-style")  # the run's own language model
WITHOUT_SETTINGS: Final = ("constant-rate", *FORMULAS)  # they tune themselves, and no seed makes a difference
OWN_RECOMMENDER: Final = (*WITHOUT_SETTINGS, *TUNES_LANGUAGE)  # which no search of ours tunes
DENSE: Final = "without quantizer (dense z)"
AS_CONFIGURED: Final = "as configured"
ABLATION_SEEDS: Final = 3

CURVE_ITEMS: Final = (1, 2, 4, 8, 16, 32)
CURVE_CONTROL: Final = "statistics"  # beside the profile method
CURVE_SEEDS: Final = 3


COMMON: Final[dict[str, Variation]] = {  # what can be left out of every method
    AS_CONFIGURED: Variation(),
    DENSE: Variation(),
    "without surrogate": Variation(("quantize.surrogate=false",)),
    "without cross-fitting": Variation(("infer.folds=0",)),
}


def ablations_of(method: str) -> dict[str, Variation]:
    """Those of every method, then the method's own."""
    return {**COMMON, **METHODS[method].ablations}


def variations_of(method: str) -> dict[str, Variation]:
    """Ablations and sweeps of a method."""
    return {**ablations_of(method), **METHODS[method].sweeps}


@dataclass(frozen=True)
class Experiment:
    """What is tuned once and then fitted with every seed: one line of a table.

    seeds     how many; None: as many as the evaluation has
    one_run   the codes are those of seed 0 for every seed of the recommender
    """

    section: Section
    method: str
    recommender: str = "dcn"
    variant: str = ""
    seeds: int | None = None
    one_run: bool = False

    @property
    def network(self) -> str:
        """The recommender's name in NETWORKS."""
        return self.recommender.removesuffix(NO_FIELD)

    @property
    def user_field(self) -> bool:
        """Whether the recommender has a table per user."""
        return not self.recommender.endswith(NO_FIELD)

    def __str__(self) -> str:
        return ", ".join(part for part in (self.section, self.method, self.recommender, self.variant) if part)


def plan(preset: Preset, split: Split, method: str) -> list[Experiment]:
    """All experiments of an evaluation of the profile method `method`, section by section."""
    experiments = _controls(split, method)
    networks = (*OWN, *LIBRARY) if preset == "full" else OWN
    experiments += [Experiment("recommenders", "none", name) for name in networks]
    if preset == "full":
        experiments += [Experiment("llm", one, _recommender_of(one), seeds=most) for one, most in LANGUAGE_ROWS.items()]
    goals = (*TRANSFER, "onn") if preset == "full" else TRANSFER
    experiments += [Experiment("transfer", one, name) for name in goals for one in ("constant", method)]
    if preset == "full":
        possible = (name for name, one in ablations_of(method).items() if not one.impossible)
        experiments += [_varied("ablations", name, split, method) for name in possible]
        experiments += [_varied("sweep", name, split, method) for name in METHODS[method].sweeps]
    return experiments


def grid_of(preset: Preset, experiment: Experiment) -> tuple[Changes, ...]:
    """The points of an experiment's search; one, and no change, where nothing of ours tunes it."""
    if experiment.method in OWN_RECOMMENDER:
        return ({},)
    return GRID[preset] + GRID_OF.get(experiment.network, ())


def _controls(split: Split, method: str) -> list[Experiment]:
    methods = ("none", *SHAPED, *CONTROLS, method)
    experiments = [Experiment("controls", one, "", seeds=1) for one in WITHOUT_SETTINGS]
    for recommender in ("dcn", f"dcn{NO_FIELD}"):
        experiments += [Experiment("controls", one, recommender) for one in methods]
    if split in NEW_USERS:
        experiments.append(Experiment("controls", "retrained"))
    return experiments


def _recommender_of(method: str) -> str:
    return "" if method in OWN_RECOMMENDER else "dcn"


def _varied(section: Section, variant: str, split: Split, method: str) -> Experiment:
    # Unseen users are served without a user field: there the codes are all that is known of them.
    recommender = f"dcn{NO_FIELD}" if split in NEW_USERS else "dcn"
    return Experiment(section, method, recommender, variant, ABLATION_SEEDS, one_run=True)
