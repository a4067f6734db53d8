"""Odds and shares in plain words."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST: Final = 0.05  # log-odds, or stars, that are worth a word


def in_odds(centres: Floats) -> list[str]:
    """One text per log-odds: "likes an item with 1.6 times the odds of others"."""
    found = []
    for centre in centres:
        if abs(centre) < LEAST:
            found.append("likes as much as others do")
        elif centre > 0:
            found.append(f"likes an item with {np.exp(centre):.1f} times the odds of others")
        else:
            found.append(f"likes an item with 1/{np.exp(-centre):.1f} of the odds of others")
    return found


def in_shares(shares: Floats) -> list[str]:
    """One text per share: "likes about 62 % of what they meet"."""
    return [f"likes about {share:.0%} of what they meet".replace("%", " %") for share in shares]
