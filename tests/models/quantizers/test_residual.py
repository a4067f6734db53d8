"""Residual quantization against plain loops."""

import pytest
import torch

from userip.models.quantizers.residual import residual_kmeans

SIZES = (4, 3, 5)


def _z() -> torch.Tensor:
    return torch.randn(200, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("plain", [True, False])
def test_each_level_takes_the_nearest_to_what_is_left(plain: bool) -> None:
    """Greedy, level by level, by distances after the linear map (brute force as oracle)."""
    scale = torch.eye(6) if plain else torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    z = _z()
    book = residual_kmeans(z, SIZES, scale, restarts=2, seed=0)
    assert [len(level) for level in book.levels()] == list(SIZES)
    found = book.assign(z[:20])
    for n in range(20):
        left = z[n]
        for one, level in enumerate(book.levels()):
            distances = [float((scale @ (left - code)).square().sum()) for code in level]
            assert found[n, one] == distances.index(min(distances))
            left = left - level[found[n, one]]


def test_every_level_brings_the_sum_nearer() -> None:
    """The squared error falls with each level; with as many codes as profiles nothing is left."""
    z = _z()
    errors = []
    for levels in (1, 2, 3):
        book = residual_kmeans(z, SIZES[:levels], torch.eye(6), restarts=2, seed=0)
        codes = book.assign(z)
        total = sum((level[codes[:, one]] for one, level in enumerate(book.levels())), torch.zeros(()))
        errors.append(float((z - total).square().sum()))
    assert errors[0] > errors[1] > errors[2]
    few = z[:6]
    book = residual_kmeans(few, (6, 2), torch.eye(6), restarts=8, seed=0)
    assert torch.allclose(book.levels()[0][book.assign(few)[:, 0]], few, atol=1e-6)
