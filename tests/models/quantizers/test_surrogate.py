"""The surrogate is a DCN on an x_0 that is put together from an item row and projected profiles."""

import torch

from userip.models.quantizers.surrogate import Surrogate
from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.layers import NetworkShape

ITEMS, WIDTH = 9, 6


def _surrogate() -> Surrogate:
    torch.manual_seed(2)
    means, stds = torch.randn(2, WIDTH), torch.rand(2, WIDTH) + 0.5
    made = Surrogate(ITEMS, list(means), list(stds))
    with torch.no_grad():
        for name, value in made.dcn.state_dict().items():
            if value.dtype.is_floating_point:
                value.copy_(torch.rand_like(value) + 0.1 if "running_var" in name else torch.randn_like(value) * 0.5)
    return made.eval()


def test_it_equals_a_dcn_on_a_hand_built_x0() -> None:
    """x_0 = [E_v(i); P_1 (z_1 - mean) / std; P_2 ..], written out number by number, through a plain DCN."""
    surrogate = _surrogate()
    items, z = torch.tensor([0, 8, 3, 3]), torch.randn(2, 4, WIDTH)
    lines = []
    for row, item in enumerate(items.tolist()):
        line = [float(value) for value in surrogate.dcn.embedding.weight.detach()[item]]
        for j, project in enumerate(surrogate.project):
            weight, bias = (parameter.detach() for parameter in project.parameters())
            unit = [float((z[j, row, d] - surrogate.mean[j, d]) / surrogate.std[j, d]) for d in range(WIDTH)]
            line += [sum(float(weight[o, d]) * unit[d] for d in range(WIDTH)) + float(bias[o]) for o in range(8)]
        lines.append(line)
    plain = DCN(NetworkShape((ITEMS, 1, 1)))
    plain.load_state_dict(surrogate.dcn.state_dict())
    expected = plain.eval().forward_embedded(torch.tensor(lines))
    got = surrogate(items, list(z))
    assert got.shape == (4,)
    assert torch.allclose(got, expected, atol=1e-4)


def test_every_part_learns_and_profiles_feel_it() -> None:
    """The loss reaches item rows, projections, cross and deep layers, and the profiles that are put in."""
    surrogate = _surrogate().train()
    z = [torch.randn(4, WIDTH).requires_grad_(True) for _ in range(2)]
    surrogate(torch.tensor([0, 1, 2, 3]), z).square().sum().backward()
    assert all(part.grad is not None and part.grad.abs().max() > 0 for part in z)
    for name, parameter in surrogate.named_parameters():
        assert parameter.grad is not None, name
    grad = surrogate.dcn.embedding.weight.grad
    assert grad is not None
    assert grad[:4].abs().sum(1).min() > 0
    assert grad[4:].abs().max() == 0  # items that are not there, and the rows that facets do not use


def test_it_does_not_read_the_user() -> None:
    """Two users with the same profile get the same logit for an item: there is no row that could tell them apart."""
    surrogate = _surrogate()
    z = torch.randn(1, WIDTH).expand(2, -1)
    logits = surrogate(torch.tensor([5, 5]), [z, z])
    assert torch.allclose(logits[0], logits[1], atol=1e-5)
