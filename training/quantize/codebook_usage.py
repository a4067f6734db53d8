"""How evenly the codes of a codebook are used, and when that counts as collapsed."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

COLLAPSED_UNDER: Final = 0.5  # of the codebook's size (docs/method.md#collapse)


def perplexity(share: Sequence[float] | NDArray[np.float64]) -> float:
    """exp of the entropy of the users' shares per code: the number of codes, when all are used alike, else fewer."""
    used = np.asarray(share, dtype=np.float64)
    used = used[used > 0]
    return float(np.exp(-(used * np.log(used)).sum()))


def has_collapsed(perplexity: float, size: int) -> bool:
    """Whether a codebook of `size` codes tells users apart so poorly that people have to be told."""
    return perplexity < COLLAPSED_UNDER * size
