"""Made-up results in which it is known which method is better, and by how much."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.evaluation.explain.attention import PARTS, QUERIES, Attention, AttentionShare
from userip.evaluation.explain.codes import CodeExplanation, FacetExplanation, Judgement
from userip.evaluation.explain.lift import Lift
from userip.evaluation.explain.maps import FacetMap
from userip.evaluation.explain.run import RANDOM, SHARED, TUNED, FacetWords, RunExplanation
from userip.evaluation.explain.words import Chance, Near, NearestWords
from userip.evaluation.results import Codebook, Failure, LearningCurve, Result, Results, Scored, Section, Timing
from userip.reporting.blocks import Estimate
from userip.training.data.dataset import Split

USERS, ROWS, SEEDS = 80, 10, 2
N = USERS * ROWS
Key = tuple[Section, str, str, str]


def rows(seed: int) -> pl.DataFrame:
    """Pairs of USERS users, ROWS each, half of them liked."""
    draw = np.random.default_rng(seed)
    users = [f"u{number:03}" for number in np.repeat(np.arange(USERS), ROWS)]
    items = [f"i{number}" for number in draw.integers(50, size=N)]
    return pl.DataFrame({"user_id": users, "item_id": items, "label": draw.permutation(np.arange(N) % 2 == 0)})


def probabilities(labels: NDArray[np.bool_], strength: float, seed: int) -> NDArray[np.float32]:
    """Clicks told with `strength` beside noise, the same noise in every method: what differs is the strength alone."""
    noise = np.random.default_rng([7, seed]).normal(size=len(labels))
    return np.asarray(1 / (1 + np.exp(-(strength * (labels - 0.5) + noise))), dtype=np.float32)


def scored(
    key: Key, strength: float, *, valid: float | None = None, seeds: Sequence[int] = range(SEEDS), noise: int = 0
) -> list[Scored]:
    """Cells of a line that tells test labels with `strength` and valid labels with `valid` (else the same).

    noise: another number is another noise, so that two methods of one strength differ by chance alone.
    """
    told = strength if valid is None else valid
    sides = [(rows(1)["label"].to_numpy(), told), (rows(2)["label"].to_numpy(), strength)]
    found = []
    for seed in seeds:
        first, second = (probabilities(labels, one, 1000 * noise + seed) for labels, one in sides)
        found.append(Scored(Result(*key, seed), first, second, {"weight_decay": 1e-4}, 1.5))
    return found


def results(cells: Sequence[Scored], split: Split = "random", **more: Any) -> Results:  # noqa: ANN401  (any field)
    """Results of these cells; every user has as many train rows as their number, counted from 1."""
    names = [f"u{number:03}" for number in range(USERS)]
    activity = pl.DataFrame({"user_id": names, "rows": np.arange(1, USERS + 1)})
    base = Results(
        "made-up", split, "full", "userip", SEEDS, {"users": USERS, "items": 50}, 3.5, rows(1), rows(2), activity, cells
    )
    return replace(base, **more)


def controls(strengths: Mapping[str, float], recommender: str = "dcn") -> list[Scored]:
    """Lines of the section controls, method -> strength."""
    return [one for name, value in strengths.items() for one in scored(("controls", name, recommender, ""), value)]


def constant_rate() -> list[Scored]:
    """The same probability for all rows."""
    half = np.full(N, 0.5, dtype=np.float32)
    return [Scored(Result("controls", "constant-rate", ""), half, half, {}, 0.0)]


def curve(strengths: Mapping[int, float], unknown: float = 0.5, retrained: float = 2.5) -> LearningCurve:
    """UserIP after so many history rows -> strength."""
    labels = rows(2)["label"].to_numpy()

    def lines(strength: float) -> NDArray[np.float32]:
        return np.stack([probabilities(labels, strength, seed) for seed in range(SEEDS)])

    mine = {items: lines(value) for items, value in strengths.items()}
    less = {items: lines(value - 0.4) for items, value in strengths.items()}
    ends = {"none": lines(unknown), "retrained": lines(retrained)}
    return LearningCurve(tuple(strengths), {"userip": mine, "statistics": less}, ends)


def explanation(*, stands_out: bool = True, near: float = 0.01, content: float = 0.02) -> RunExplanation:
    """One facet of two codes. near: adjusted p of nearest words; content: attention that content gets more of."""
    lift = Lift("genre", "noir", "Noir <b>", 30, 3.0, 2.0, 4.5, 1e-4)
    mean = Estimate(0.6, 0.5, 0.7)
    judged = Judgement(mean, Estimate(12.0, 10.0, 14.0), None)
    codes = tuple(CodeExplanation(code, 40, judged, (), (lift,) if stands_out else (), ()) for code in range(2))
    chances = (Chance("words", near / 2, near), Chance("profiles", near / 2, near))
    words = tuple(NearestWords(f"hobby {code}", (Near("noir", 0.5), Near("war", 0.4)), chances) for code in (0, 1))
    shares = tuple(
        AttentionShare(fill, query, part, Estimate(0.2, 0.19, 0.21))
        for fill in (RANDOM, SHARED, TUNED, "even") for query in QUERIES for part in PARTS
    )  # fmt: skip
    moved = {"content": content, "template": -content}
    changes = tuple(
        AttentionShare(before, query, part, Estimate(by := moved.get(part, 0.0), by - 0.01, by + 0.01))
        for before in (RANDOM, SHARED) for query in QUERIES for part in PARTS
    )  # fmt: skip
    return RunExplanation(
        (FacetExplanation("hobby", 80, 20, judged, codes),),
        (FacetWords("hobby", words, words[:1]),),
        Attention(50, 3, 4, shares, changes),
        (FacetMap("hobby", (0, 1), (0.0, 1.0), (0.0, 1.0), (0, 1), (0.6, 0.3), 0.98),),
    )


def books(*, collapsed: bool = False) -> list[Codebook]:
    """Two seeds of one facet of two codes."""
    usage = (0.99, 0.01) if collapsed else (0.5, 0.5)
    return [Codebook(seed, "hobby", 2, usage, 1.06 if collapsed else 2.0, collapsed) for seed in range(2)]


def probe(own: float, shared: float, another: float) -> dict[str, Any]:
    """Nats per held-out item, of titles; polarity is the same under all."""
    fills = {"own z": own, "own z before the E steps": own + 0.01, "shared prompt": shared, "another user's z": another}
    return {"users": 96, "held_out_items": 500} | {
        name: {"title": nats, "polarity": 0.5} for name, nats in fills.items()
    }


def full(split: Split = "users") -> Results:
    """All parts there are, one line failed and one skipped."""
    methods = (
        "none", "constant", "random", "shuffled", "mean-rating", "activity", "kmeans", "genre-kmeans", "statistics",
        "statistics-mf",
    )  # fmt: skip
    cells = constant_rate()
    for recommender in ("dcn", "dcn-no-user-field"):
        weak = {name: 1.0 + 0.05 * number for number, name in enumerate(methods)}
        cells += controls(weak | {"userip": 2.4}, recommender)
    cells += controls({"retrained": 2.2})
    for name, strength in {"ffm": 1.1, "dcn": 1.0, "pnn": 1.3}.items():
        cells += scored(("recommenders", "none", name, ""), strength)
    cells += scored(("llm", "kar-style", "dcn", ""), 1.2) + scored(("llm", "rella-style", "", ""), 0.8, seeds=[0])
    for name in ("pnn", "deepfm"):
        for method, strength in {"constant": 1.0, "userip": 1.8}.items():
            cells += scored(("transfer", method, name, ""), strength)
    where = "dcn-no-user-field" if split == "users" else "dcn"
    for variant, strength in {"as configured": 2.0, "without polarity": 1.4, "random start": 1.9}.items():
        cells += scored(("ablations", "userip", where, variant), strength)
    for variant, strength in {"size=4": 1.8, "size=16": 2.1, "soft_tokens=1": 2.0, "soft_tokens=2": 1.9}.items():
        cells += scored(("sweep", "userip", where, variant), strength)
    return results(
        cells,
        split,
        curve=curve({1: 1.0, 4: 1.6, 16: 2.3}) if split == "users" else None,
        agreement={"hobby": 0.7},
        codebooks=books(),
        explanation=explanation(),
        probe={0: probe(8.0, 8.5, 9.0), 1: probe(8.1, 8.6, 9.2)},
        settings={"infer": {"lr": 0.05}, "facets": [{"name": "hobby", "size": 2}]},
        failures=[
            Failure("recommenders, none, autoint, seed 1", "out of <memory>"),
            Failure("llm, pepler-style", "too large here", skipped=True),
            Failure("without surrogate", "setting refused"),
        ],
        timings=[Timing("seed-0, infer", 321.0, 900.0)],
        split_hash="ab" * 32,
        grid={"weight_decay": [1e-4, 1e-3]},
        versions={"userip": "1.2", "torch": "2.13.0"},
    )
