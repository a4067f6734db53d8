"""What a code of a count means, in plain words: its range, which ends half-way to its neighbours."""

import numpy as np
from numpy.typing import NDArray

from userip.training.judging.words import LEAST, in_odds, in_shares

Floats = NDArray[np.float64]


def generosity(centres: Floats, *, rated: bool) -> list[str]:
    """One text per code, as "rates 0.6 stars above others"."""
    if not rated:
        return in_odds(centres)
    return [
        "rates as others do"
        if abs(centre) < LEAST
        else f"rates {abs(centre):.1f} stars {'above' if centre > 0 else 'below'} others"
        for centre in centres
    ]


def warmth(centres: Floats) -> list[str]:
    """One text per code, as "likes about 62 % of what they meet"."""
    return in_shares(np.clip(centres, 0, 1))


def activity(centres: Floats) -> list[str]:
    """One text per code, as "12 to 40 interactions"; the outermost are open."""
    order = np.argsort(centres, kind="stable")
    cuts = np.expm1((centres[order][1:] + centres[order][:-1]) / 2)
    texts = [""] * len(centres)
    for place, code in enumerate(order.tolist()):
        low = int(np.floor(cuts[place - 1])) + 1 if place else None
        high = int(np.floor(cuts[place])) if place < len(cuts) else None
        texts[code] = _range(low, high)
    return texts


def _range(low: int | None, high: int | None) -> str:
    if low is None:
        return "any number of interactions" if high is None else f"up to {high:,} interactions"
    if high is None:
        return f"{low:,} interactions or more"
    return f"{low:,} interactions" if high <= low else f"{low:,} to {high:,} interactions"
