"""How evenly codes are used."""

import pytest
from scipy.stats import entropy

from userip.training.quantize.codebook_usage import has_collapsed, perplexity


@pytest.mark.parametrize(
    ("share", "expected"),
    [([0.25] * 4, 4.0), ([1.0, 0.0, 0.0], 1.0), ([0.5, 0.5, 0.0], 2.0), ([0.7, 0.2, 0.1], None), ([0.0, 0.0], 1.0)],
)
def test_perplexity_is_the_exponential_of_the_entropy(share: list[float], expected: float | None) -> None:
    """K when even, 1 when one code has everybody (or nobody is there to count), scipy's entropy in between."""
    wanted = float(entropy([0.7, 0.2, 0.1]))
    assert perplexity(share) == pytest.approx(2.718281828459045**wanted if expected is None else expected)


def test_under_half_of_the_codes_is_collapsed() -> None:
    """Exactly half is not."""
    assert has_collapsed(7.99, 16)
    assert not has_collapsed(8.0, 16)
