"""The metric of quantization: what counts as far, with and without clicks."""

import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from userip.models.quantizers.codebook import Codebook, kmeans
from userip.models.quantizers.surrogate import Surrogate
from userip.training.quantize.metric import click_directions, scale_of, with_clicks

D = 5


def _profiles(n: int = 300, seed: int = 0) -> torch.Tensor:
    """Loud and quiet dimensions, far from the origin; the last one is the same for everybody."""
    generator = torch.Generator().manual_seed(seed)
    loud = torch.tensor([10.0, 1.0, 0.1, 0.01, 0.0])
    return torch.randn(n, D, generator=generator) * loud + torch.tensor([3.0, -2.0, 1.0, 0.5, 0.7])


def _surrogate(dtype: torch.dtype = torch.float64) -> Surrogate:
    torch.manual_seed(1)
    made = Surrogate(6, [torch.zeros(D), torch.ones(D)], [torch.ones(D), torch.full((D,), 2.0)])
    return made.to(dtype)


def test_standardised_dimensions_count_alike() -> None:
    """Total variance 1, an even part in every dimension that varies, nothing in one that does not."""
    z = _profiles()
    variance = (z @ scale_of(z, "standardised").T).var(dim=0, correction=0)
    assert variance.tolist() == pytest.approx([0.25, 0.25, 0.25, 0.25, 0.0], abs=1e-4)


def test_the_plain_metric_is_euclidean() -> None:
    """Distances as in equation 6."""
    assert torch.equal(scale_of(_profiles(), "plain"), torch.eye(D))


def test_profiles_that_are_all_the_same_have_no_metric() -> None:
    """A facet in which nobody differs: zeros, no infinities."""
    assert torch.equal(scale_of(torch.full((9, D), 1.5), "standardised"), torch.zeros(D, D))


def test_click_directions_are_the_sensitivity_of_the_logit() -> None:
    """Their outer products sum to G = E[g g^T], with g taken by finite differences, one coordinate at a time."""
    surrogate = _surrogate()
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(6, (20,), generator=generator)
    z = [torch.randn(20, D, generator=generator, dtype=torch.float64) for _ in range(2)]
    directions = click_directions(surrogate, items, z, rank=D)
    surrogate.eval()
    for j in range(2):
        columns = []
        for d in range(D):
            ends = []
            for sign in (1.0, -1.0):
                moved = [part.clone() for part in z]
                moved[j][:, d] += sign * 1e-5
                with torch.no_grad():
                    ends.append(surrogate(items, moved))
            columns.append((ends[0] - ends[1]) / 2e-5)
        gradient = torch.stack(columns, dim=1)
        expected = gradient.T @ gradient / 20
        assert torch.allclose((directions[j].T @ directions[j]).double(), expected, atol=1e-4 * float(expected.max()))


def test_the_leading_directions_are_kept() -> None:
    """With rank 2, the two largest eigenvalues remain; parameters of the surrogate gather no gradient."""
    surrogate = _surrogate()
    items, z = torch.arange(6), [torch.randn(6, D, dtype=torch.float64) for _ in range(2)]
    whole, part = (click_directions(surrogate, items, z, rank=rank)[0] for rank in (D, 2))
    assert part.shape == (2, D)
    assert torch.allclose(part.norm(dim=1), whole.norm(dim=1)[-2:])
    assert all(parameter.grad is None for parameter in surrogate.parameters())


@pytest.mark.parametrize("weight", [0.5, 4.0])
def test_clicks_get_their_share_of_variance(weight: float) -> None:
    """The appended rows vary `weight` times as much as the rest; the rest is as before."""
    z = _profiles()
    scale = scale_of(z, "standardised")
    both = with_clicks(scale, torch.randn(3, D), z, weight)
    variance = (z @ both.T).var(dim=0, correction=0)
    assert torch.equal(both[:D], scale)
    assert float(variance[D:].sum() / variance[:D].sum()) == pytest.approx(weight, rel=1e-3)


def test_clicks_without_weight_or_spread_add_nothing() -> None:
    """Weight 0, or a surrogate that does not care: the scale stays."""
    z = _profiles()
    scale = scale_of(z, "standardised")
    assert with_clicks(scale, torch.randn(3, D), z, 0.0) is scale
    assert with_clicks(scale, torch.zeros(3, D), z, 4.0) is scale


def test_codes_follow_what_matters_for_clicks() -> None:
    """Two planted groupings of like size: k-means finds the one that the click directions point at."""
    generator = torch.Generator().manual_seed(3)
    one, two = torch.randint(2, (400,), generator=generator), torch.randint(2, (400,), generator=generator)
    z = torch.stack([4.0 * one, 3.0 * two], dim=1) + 0.3 * torch.randn(400, 2, generator=generator)
    scale = scale_of(z, "plain")
    for directions, truth in ((torch.tensor([[1.0, 0.0]]), one), (torch.tensor([[0.0, 1.0]]), two)):
        metric = with_clicks(scale, directions, z, 4.0)
        book = Codebook(kmeans(z, 2, metric, restarts=3, seed=0), metric)
        assert adjusted_rand_score(truth.tolist(), book.assign(z).tolist()) == pytest.approx(1.0)
