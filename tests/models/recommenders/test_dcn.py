"""The DCN against its formulas, written as explicit loops."""

import math

import numpy as np
import pytest
import torch

from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.layers import NetworkShape

SHAPE = NetworkShape((7, 5, 3), embedding=4, cross_layers=3, mlp=(6, 5), dropout=0.2)


def _trained_looking(shape: NetworkShape, seed: int = 0) -> DCN:
    """A DCN whose every parameter and statistic differs from its start."""
    torch.manual_seed(seed)
    model = DCN(shape)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                noise = torch.randn_like(value) * 0.5
                value.copy_(noise.abs() + 0.1 if name.endswith("running_var") else value + noise)
    return model.eval()


def _logit_by_loops(model: DCN, rows: list[int]) -> float:
    """docs/method.md#recommender, one number at a time, in Python floats."""
    shape, state = model.shape, {name: value.double().numpy() for name, value in model.state_dict().items()}
    x0 = []
    for field, row in enumerate(rows):
        place = sum(shape.field_sizes[:field]) + row
        x0 += [float(v) for v in state["embedding.weight"][place]]
    x = list(x0)
    for layer in range(shape.cross_layers):
        weight, bias = state["cross_weight"][layer], state["cross_bias"][layer]
        dot = sum(x[i] * weight[i] for i in range(len(x0)))
        x = [x0[i] * dot + bias[i] + x[i] for i in range(len(x0))]
    h = list(x0)
    for block in range(len(shape.mlp)):
        linear, norm = f"mlp.{4 * block}", f"mlp.{4 * block + 1}"
        weight, bias = state[f"{linear}.weight"], state[f"{linear}.bias"]
        after = []
        for unit in range(shape.mlp[block]):
            value = sum(h[i] * weight[unit][i] for i in range(len(h))) + bias[unit]
            value = (value - state[f"{norm}.running_mean"][unit]) / math.sqrt(state[f"{norm}.running_var"][unit] + 1e-5)
            value = value * state[f"{norm}.weight"][unit] + state[f"{norm}.bias"][unit]
            after.append(max(0.0, value))
        h = after
    both = x + (h if shape.mlp else [])
    head = state["head.weight"][0]
    return float(sum(both[i] * head[i] for i in range(len(both))) + state["head.bias"][0])


@pytest.mark.parametrize(
    "shape",
    [
        SHAPE,
        NetworkShape((4,), embedding=2, cross_layers=1, mlp=(3,)),
        NetworkShape((4, 2), embedding=3, cross_layers=2, mlp=()),
        NetworkShape((4, 2, 1), embedding=1, cross_layers=0, mlp=(2, 2, 2)),
        NetworkShape((9, 9), embedding=5, cross_layers=0, mlp=()),
    ],
)
def test_the_logit_is_the_formula(shape: NetworkShape) -> None:
    """Cross layers, MLP with BatchNorm and head give what explicit loops give."""
    model = _trained_looking(shape)
    rows = np.stack([np.random.default_rng(1).integers(0, size, 12) for size in shape.field_sizes], axis=1)
    logits = model(torch.from_numpy(rows))
    assert logits.shape == (12,)
    expected = [_logit_by_loops(model, list(map(int, line))) for line in rows]
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_cross_layer_is_the_outer_product() -> None:
    """x_0 (x_l . w) equals (x_0 x_l^T) w, the form in which the DCN paper writes the cross layer."""
    model = _trained_looking(NetworkShape((5, 4), embedding=3, cross_layers=1, mlp=()))
    x0 = model.embed(torch.tensor([[1, 2], [0, 3]]))
    outer = torch.einsum("bi,bj->bij", x0, x0)
    x1 = outer @ model.cross_weight[0] + model.cross_bias[0] + x0
    torch.testing.assert_close(model.forward_embedded(x0), model.head(x1).squeeze(1))


def test_embedded_fields_may_be_dense_vectors() -> None:
    """`forward` is `forward_embedded` of the embeddings; gradients reach a dense vector in their place."""
    model = _trained_looking(SHAPE)
    rows = torch.tensor([[1, 2, 0], [6, 4, 2]])
    x0 = model.embed(rows)
    torch.testing.assert_close(model(rows), model.forward_embedded(x0))
    dense = x0.detach().clone().requires_grad_()
    model.forward_embedded(dense).sum().backward()  # type: ignore[no-untyped-call]
    assert dense.grad is not None
    assert (dense.grad.abs().sum(dim=0) > 0).all()


def test_every_field_has_its_own_rows() -> None:
    """Row r of one field is not row r of another: each field moves the logit through its own table."""
    model = _trained_looking(SHAPE)
    base = torch.zeros(1, 3, dtype=torch.int64)
    for field in range(3):
        moved = base.clone()
        moved[0, field] = 1
        model.zero_grad()
        model(moved).backward()
        touched = model.embedding.weight.grad.abs().sum(dim=1).nonzero().flatten().tolist()  # type: ignore[union-attr]
        expected = [sum(SHAPE.field_sizes[:f]) + (1 if f == field else 0) for f in range(3)]
        assert touched == expected


def test_embeddings_start_xavier_uniform() -> None:
    """The start is bounded by sqrt(6 / (rows + width)) over the one table, and fills that range."""
    torch.manual_seed(0)
    weight = DCN(NetworkShape((300, 200, 100))).embedding.weight.detach()
    bound = math.sqrt(6 / (600 + 8))
    assert weight.abs().max() <= bound
    assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_no_fields_are_refused() -> None:
    """A network without fields, or with a field without rows, is a mistake of the caller."""
    for sizes in ((), (3, 0)):
        with pytest.raises(ValueError, match="at least one field"):
            DCN(NetworkShape(sizes))
