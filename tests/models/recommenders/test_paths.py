"""Paths beside a network: what they add, where they start, and to where they shrink."""

import pytest
import torch

from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.ffm import FFM
from userip.models.recommenders.layers import NetworkShape
from userip.models.recommenders.paths import PathNetwork, Paths, build

SHAPE = NetworkShape((4, 5, 3))  # user code, item, item field
PATHS = Paths(wide=(0, 1, 2), user=(0,), item=(1, 2), dot=2, calibrated=True)


def _started() -> PathNetwork:
    torch.manual_seed(0)
    model = build(DCN, SHAPE, PATHS)
    assert isinstance(model, PathNetwork)
    assert model.wide is not None
    assert model.user is not None
    assert model.item is not None
    model.wide.set_start(1, torch.arange(5.0)[:, None])
    model.wide.set_start(0, torch.tensor([[0.0], [0.5], [0.0], [0.0]]))
    model.user.set_start(0, torch.tensor([[0.0, 0.0], [1.0, 2.0], [0.0, 1.0], [1.0, 0.0]]))
    model.item.set_start(1, torch.tensor([[0.0, 0.0]] * 3 + [[3.0, -1.0]] * 2))
    model.item.set_start(2, torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 10.0]]))
    model.start_alone()
    return model.eval()


def test_it_is_the_sum_by_hand() -> None:
    """Numbers add up; vectors of either side add up and are multiplied; then scale and shift."""
    model = _started()
    rows = torch.tensor([[1, 3, 0], [1, 3, 2], [0, 3, 2], [2, 0, 0]])
    by_hand = torch.tensor([0.5 + 3 + (1 * 3 - 2 * 1), 0.5 + 3 + (1 * 3 + 2 * 9), 3.0, 0.0])
    assert torch.allclose(model(rows), by_hand)
    model.calibration.copy_(torch.tensor([0.5, -1.0]))
    assert torch.allclose(model(rows), 0.5 * by_hand - 1.0)


def test_the_network_is_heard_only_through_its_gate() -> None:
    """At 0 it says nothing, and still learns: its gate has a gradient."""
    model = _started().train()
    rows = torch.tensor([[1, 3, 0], [2, 1, 2]])
    model(rows).sum().backward()
    assert model.gate.item() == 0.0
    assert model.gate.grad is not None
    assert float(model.gate.grad.abs()) > 0


def test_weight_decay_draws_to_the_start() -> None:
    """Without a loss, a table that was pushed away from its start comes back to it, and not to 0."""
    model = _started()
    assert model.wide is not None
    before = model.wide.weight.detach().clone()
    with torch.no_grad():
        model.wide.delta.add_(0.3)
    optimiser = torch.optim.SGD([model.wide.delta], lr=0.5, weight_decay=1.0)
    for _ in range(40):
        (0.0 * model.wide.delta.sum()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert torch.allclose(model.wide.weight, before, atol=1e-4)


def test_no_path_is_the_network_itself() -> None:
    """The same class, weights and bytes as without the module."""
    torch.manual_seed(5)
    plain = DCN(SHAPE)
    torch.manual_seed(5)
    built = build(DCN, SHAPE, Paths())
    assert type(built) is DCN
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), built.state_dict().values(), strict=True))


def test_codes_that_share_a_slot_add_up() -> None:
    """x_0 has one slot for them; two codes that swap their embeddings are told no longer apart."""
    model = DCN(NetworkShape((6, 4, 4, 3), shared=(1, 3)))
    x = model.embed(torch.tensor([[1, 2, 3, 1]])).view(3, 8)
    table = model.embedding.weight
    assert torch.allclose(x[1], table[6 + 2] + table[10 + 3])
    assert torch.allclose(x[2], table[14 + 1])
    with pytest.raises(ValueError, match="cannot share a slot"):
        FFM(NetworkShape((6, 4, 4), shared=(1, 3)))
