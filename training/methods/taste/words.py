"""What codes mean, in plain words."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from userip.training.judging.events import chance
from userip.training.judging.words import LEAST, in_shares

Floats = NDArray[np.float64]
NAMED: Final = 4  # attributes that a taste leans to, and away from


def warmth(centres: Floats, a: float, b: float) -> list[str]:
    """One text per code: "likes about 62 % of what they meet"; centres are log-odds beside those of Beta(a, b)."""
    return in_shares(chance(centres + np.log(a / b)))


def taste(centres: Floats, leanings: Mapping[str, Sequence[float]]) -> list[str]:
    """One text per code [K, k]: the attributes whose items it raises most, and those that it lowers most."""
    names = list(leanings)
    if not names:
        return [""] * len(centres)
    odds = centres @ np.array([leanings[name] for name in names]).T  # [K, a], log-odds
    found = []
    for line in odds:
        order = np.argsort(-line, kind="stable")
        more = [names[k] for k in order[:NAMED] if line[k] > LEAST]
        less = [names[k] for k in order[::-1][:NAMED] if line[k] < -LEAST]
        said = [f"likes more than others: {', '.join(more)}"] if more else []
        said += [f"likes less: {', '.join(less)}"] if less else []
        found.append("; ".join(said))
    return found
