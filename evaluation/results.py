"""The results of an evaluation: predictions of every method, and what else the report shows.

A method predicts the valid and the test rows, both in the order of the tables of `Results`; figures, intervals and
comparisons are all computed from these predictions. Labels of test rows are in `Results.test` alone, and are read
after the last prediction was made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.evaluation.explain.run import RunExplanation
from userip.training.data.dataset import Split

Predictions = NDArray[np.float32]
Section = Literal["controls", "recommenders", "llm", "ablations", "transfer", "sweep"]
SECTIONS: Final[tuple[Section, ...]] = ("controls", "recommenders", "llm", "transfer", "ablations", "sweep")
BASE: Final = "constant"  # the method that codes have to beat (docs/method.md#controls)


class Result(NamedTuple):
    """One prediction of all rows.

    section      the table that it belongs to
    method       the profile method, or a control or baseline: none, constant, random, shuffled, mean-rating,
                 activity, kmeans, genre-kmeans, statistics, statistics-mf, rating-bias, retrained, kar-style,
                 pepler-style, rella-style, constant-rate, or one of FORMULAS
    recommender  a name of NETWORKS; "-no-user-field" behind it for one without a table per user; "" where the method
                 is its own recommender
    variant      "", or the ablation or the setting of a sweep, as "without polarity" or "hobby=4"
    seed         of inference, quantization and recommender; of the recommender alone in ablations and sweeps
    """

    section: Section
    method: str
    recommender: str = "dcn"
    variant: str = ""
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Scored:
    """A result with its click probabilities: valid float32 [n_valid], test float32 [n_test].

    `settings`: what the search chose, as {"weight_decay": 3e-4, "dropout": 0.5}; `seconds` that the fit took.
    """

    result: Result
    valid: Predictions
    test: Predictions
    settings: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Failure:
    """Something that was not done: `skipped` where it cannot be done here, else it went wrong. One line says why."""

    what: str
    reason: str
    skipped: bool = False


@dataclass(frozen=True)
class Timing:
    """How long a part took, in this run or in the one that left its result; peak memory of the process until then."""

    what: str
    seconds: float
    peak_memory_mb: float


@dataclass(frozen=True)
class Codebook:
    """One facet's codebook in one seed: share of train users per code, and how many codes that is worth."""

    seed: int
    facet: str
    size: int
    usage: tuple[float, ...]
    perplexity: float
    collapsed: bool


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Unseen users from their first 1, 2, 4, .. history rows; the recommender has no user field and is not refitted.

    items        how many rows a history was cut to, ascending
    predictions  method -> items -> float32 [S, n_test], one line per seed of the recommender
    references   method -> float32 [S, n_test]: `none` and `retrained`, which no cut touches
    """

    items: tuple[int, ...]
    predictions: Mapping[str, Mapping[int, Predictions]]
    references: Mapping[str, Predictions]


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that the report is made of.

    dataset, split, preset   names; counts: those of dataset.json; positive_above: the threshold of labels, if any
    method                   the profile method that is evaluated
    seeds                    of the sections controls, recommenders and transfer: 0 .. seeds - 1
    valid, test              user_id, item_id, label (bool); a line of them is a column of the predictions
    activity                 user_id, rows i64: train and history rows of every test user (0: not one)
    scored                   every result
    curve                    None for splits without users held out
    agreement                facet -> mean adjusted Rand index of the codes between seeds; empty for one seed
    codebooks                of every seed, facet by facet
    explanation              of seed 0; None where it failed
    probe                    RUN/infer: what held-out items of train users say of profiles (nats), per seed
    settings                 the resolved training configuration
    failures, timings        what was not done and why; how long the parts took
    split_hash               of the data set, as every artefact carries it
    grid                     setting -> values that were searched on validation, the same for every method
    inferred                 seeds that profiles were inferred with: seed s takes those of s mod inferred
    versions                 "userip", "python", "torch", .. -> version
    """

    dataset: str
    split: Split
    preset: Literal["quick", "full"]
    method: str
    seeds: int
    counts: Mapping[str, int]
    positive_above: float | None
    valid: pl.DataFrame
    test: pl.DataFrame
    activity: pl.DataFrame
    scored: Sequence[Scored]
    curve: LearningCurve | None = None
    agreement: Mapping[str, float] = field(default_factory=dict)
    codebooks: Sequence[Codebook] = ()
    explanation: RunExplanation | None = None
    probe: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    failures: Sequence[Failure] = ()
    timings: Sequence[Timing] = ()
    split_hash: str = ""
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    inferred: int = 0

    def of(
        self, section: Section, method: str | None = None, recommender: str | None = None, variant: str | None = None
    ) -> list[Scored]:
        """The results of a section, and of a method, recommender and variant where given, in the plan's order."""
        wanted = (section, method, recommender, variant)
        return [
            one
            for one in self.scored
            if all(want is None or want == have for want, have in zip(wanted, one.result[:4], strict=True))
        ]

    def rows_of(self, section: Section) -> list[tuple[str, str, str]]:
        """(method, recommender, variant) of a section's experiments, each once, in the plan's order."""
        return list(dict.fromkeys(one.result[1:4] for one in self.of(section)))
