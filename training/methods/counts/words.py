"""What a code of a count means, in plain words: its range, which ends half-way to its neighbours."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def generosity(centres: Floats, *, rated: bool) -> list[str]:
    """One text per code, as "rates 0.6 stars above others"."""
    found = []
    for centre in centres:
        side = "above" if centre > 0 else "below"
        if abs(centre) < 0.05:
            found.append("rates as others do" if rated else "likes as much as others do")
        elif rated:
            found.append(f"rates {abs(centre):.1f} stars {side} others")
        else:
            often = (
                f"{np.exp(abs(centre)):.1f} times the odds"
                if centre > 0
                else f"1/{np.exp(abs(centre)):.1f} of the odds"
            )
            found.append(f"likes an item with {often} of others")
    return found


def warmth(centres: Floats) -> list[str]:
    """One text per code, as "likes about 62 % of what they meet"."""
    return [f"likes about {centre:.0%} of what they meet".replace("%", " %") for centre in np.clip(centres, 0, 1)]


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
