"""What codes mean, in plain words."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NAMED: Final = 4  # attributes that a taste leans to, and away from
LEAST: Final = 0.05  # log-odds that are worth a word


def generosity(centres: Floats) -> list[str]:
    """One text per code, from log-odds: "likes an item with 1.6 times the odds of others"."""
    found = []
    for centre in centres:
        if abs(centre) < LEAST:
            found.append("likes as much as others do")
        elif centre > 0:
            found.append(f"likes an item with {np.exp(centre):.1f} times the odds of others")
        else:
            found.append(f"likes an item with 1/{np.exp(-centre):.1f} of the odds of others")
    return found


def warmth(centres: Floats, a: float, b: float) -> list[str]:
    """One text per code: "likes about 62 % of what they meet"; centres are log-odds beside those of Beta(a, b)."""
    shares = 1 / (1 + np.exp(-(centres + np.log(a / b))))
    return [f"likes about {share:.0%} of what they meet".replace("%", " %") for share in shares]


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
