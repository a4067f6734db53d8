"""What a profile is worth to the language model: held-out train interactions under own z and under others."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy.stats import t as student

from userip.evaluation.intervals import LEVEL, Difference
from userip.evaluation.results import Results
from userip.evaluation.sections.claims import listed, say, verdict_of
from userip.reporting.blocks import Cell, Column, Section, Table

OWN: Final = "own z"
FILLS: Final = {
    OWN: "the user's own profile",
    "own z before the E steps": "the profile as it starts",
    "shared prompt": "the prompt that all share",
    "another user's z": "another user's profile",
}
CLAIMED: Final = ("shared prompt", "another user's z")
PARTS: Final = {"title": "item", "polarity": "liked or not"}


def profile_worth(results: Results) -> list[Section]:
    """Nats per held-out interaction that the own profile saves; the interval is over seeds, by Student's t."""
    probes = [probe for _, probe in sorted(results.probe.items()) if isinstance(probe.get(OWN), Mapping)]
    if not probes:
        return []
    fills = [fill for fill in FILLS if all(isinstance(probe.get(fill), Mapping) for probe in probes)]
    parts = [part for part in PARTS if all(part in probe[fill] for probe in probes for fill in fills)]
    saved = {
        fill: over_seeds([_total(probe[fill], parts) - _total(probe[OWN], parts) for probe in probes])
        for fill in fills
        if fill != OWN
    }
    claimed = {fill: saved[fill] for fill in CLAIMED if fill in saved}
    summary = [f"{say(one)} against {FILLS[fill]}" for fill, one in claimed.items()]
    answer = (
        f"Nats saved for each held-out interaction: {listed(summary)}."
        if summary
        else "There is nothing to compare with."
    )
    columns = (
        Column("profile"), *(Column(f"nats, {PARTS[part]}", "metric", "lower") for part in parts),
        Column("nats, both", "metric", "lower"), Column("saved by the own profile", "difference"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for fill in fills:
        means = [float(np.mean([probe[fill][part] for probe in probes])) for part in parts]
        rows.append((FILLS[fill], *means, sum(means), saved.get(fill)))
    users = listed(sorted({f"{probe['users']:,}" for probe in probes if "users" in probe}))
    note = f"Means over {len(probes)} {'seed' if len(probes) == 1 else 'seeds'}{f', {users} users each' * bool(users)}."
    table = Table("What held-out interactions of train users cost", columns, tuple(rows), note, (0,))
    question = "Does a profile tell of its own user more than the shared prompt or another user's profile?"
    verdict = verdict_of(list(claimed.values()) if len(claimed) == len(CLAIMED) else [])
    return [Section("What a profile is worth", question, answer, verdict, (table,))]


def over_seeds(values: Sequence[float]) -> Difference:
    """Mean with its 95 % interval by Student's t; NaN bounds for one value."""
    mean, count = float(np.mean(values)), len(values)
    half = float("nan")
    if count > 1:
        half = float(student.ppf((1 + LEVEL) / 2, count - 1) * np.std(values, ddof=1) / count**0.5)
    return Difference(mean, mean - half, mean + half, tuple(values))


def _total(figures: Mapping[str, Any], parts: Sequence[str]) -> float:
    return float(sum(figures[part] for part in parts))
