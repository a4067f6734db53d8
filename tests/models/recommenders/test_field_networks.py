"""DCNv2, PNN, DeepFM and FFM against their formulas (docs/method.md#other-networks), as loops over Python floats."""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from userip.models.recommenders.dcnv2 import DCNv2
from userip.models.recommenders.deepfm import DeepFM
from userip.models.recommenders.ffm import FFM
from userip.models.recommenders.layers import NetworkShape
from userip.models.recommenders.pnn import PNN

State = dict[str, NDArray[np.float64]]

SHAPES = [
    NetworkShape((7, 5, 3), embedding=4, cross_layers=3, mlp=(6, 5), dropout=0.2),
    NetworkShape((4, 2, 3, 6), embedding=1, cross_layers=1, mlp=(8,)),
    NetworkShape((4, 2), embedding=3, cross_layers=2, mlp=()),
    NetworkShape((5, 3), embedding=2, cross_layers=0, mlp=(7, 6, 5)),
    NetworkShape((4,), embedding=2, cross_layers=2, mlp=(8,)),
    NetworkShape((4,), embedding=2, cross_layers=0, mlp=()),
]


def _trained_looking(network: type[DCNv2 | PNN | DeepFM | FFM], shape: NetworkShape) -> nn.Module:
    """Every parameter and statistic is moved away from its start."""
    torch.manual_seed(0)
    model = network(shape)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                noise = torch.randn_like(value) * 0.5
                value.copy_(noise.abs() + 0.1 if name.endswith("running_var") else value + noise)
    return model.eval()


def _place(shape: NetworkShape, field: int, row: int) -> int:
    return sum(shape.field_sizes[:field]) + row


def _vectors(shape: NetworkShape, state: State, rows: list[int]) -> list[list[float]]:
    return [[float(v) for v in state["embedding.weight"][_place(shape, f, row)]] for f, row in enumerate(rows)]


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _mlp(shape: NetworkShape, state: State, h: list[float]) -> list[float]:
    for block in range(len(shape.mlp)):
        linear, norm = f"mlp.{4 * block}", f"mlp.{4 * block + 1}"
        after = []
        for unit in range(shape.mlp[block]):
            value = (
                sum(h[i] * state[f"{linear}.weight"][unit][i] for i in range(len(h))) + state[f"{linear}.bias"][unit]
            )
            value = (value - state[f"{norm}.running_mean"][unit]) / math.sqrt(state[f"{norm}.running_var"][unit] + 1e-5)
            after.append(max(0.0, float(value * state[f"{norm}.weight"][unit] + state[f"{norm}.bias"][unit])))
        h = after
    return h


def _head(state: State, h: list[float]) -> float:
    return sum(h[i] * float(state["head.weight"][0][i]) for i in range(len(h)))


def _linear_term(shape: NetworkShape, state: State, rows: list[int]) -> float:
    weights = [float(state["linear.embedding.weight"][_place(shape, f, row)][0]) for f, row in enumerate(rows)]
    return sum(weights) + float(state["linear.bias"])


def _dcnv2(shape: NetworkShape, state: State, rows: list[int]) -> float:
    x0 = [v for e in _vectors(shape, state, rows) for v in e]
    x = list(x0)
    for layer in range(shape.cross_layers):
        weight, bias = state[f"cross.{layer}.weight"], state[f"cross.{layer}.bias"]
        x = [x0[i] * float(sum(weight[i][k] * x[k] for k in range(len(x))) + bias[i]) + x[i] for i in range(len(x0))]
    return _head(state, x + (_mlp(shape, state, x0) if shape.mlp else [])) + float(state["head.bias"][0])


def _pnn(shape: NetworkShape, state: State, rows: list[int]) -> float:
    e = _vectors(shape, state, rows)
    product_layer = [v for vector in e for v in vector]
    product_layer += [_dot(e[i], e[j]) for i in range(len(e)) for j in range(i + 1, len(e))]
    return _head(state, _mlp(shape, state, product_layer)) + float(state["head.bias"][0])


def _deepfm(shape: NetworkShape, state: State, rows: list[int]) -> float:
    e = _vectors(shape, state, rows)
    logit = _linear_term(shape, state, rows) + sum(_dot(a, b) for a, b in combinations(e, 2))
    return logit + (_head(state, _mlp(shape, state, [v for vector in e for v in vector])) if shape.mlp else 0.0)


def _ffm(shape: NetworkShape, state: State, rows: list[int]) -> float:
    d, e = shape.embedding, _vectors(shape, state, rows)
    logit = _linear_term(shape, state, rows)
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            logit += _dot(e[i][j * d : (j + 1) * d], e[j][i * d : (i + 1) * d])
    return logit


NETWORKS: list[tuple[type[DCNv2 | PNN | DeepFM | FFM], Callable[[NetworkShape, State, list[int]], float]]] = [
    (DCNv2, _dcnv2),
    (PNN, _pnn),
    (DeepFM, _deepfm),
    (FFM, _ffm),
]
OURS = [network for network, _ in NETWORKS]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{len(shape.field_sizes)}fields-mlp{len(shape.mlp)}")
@pytest.mark.parametrize(("network", "by_loops"), NETWORKS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_logit_is_the_formula(
    network: type[DCNv2 | PNN | DeepFM | FFM],
    by_loops: Callable[[NetworkShape, State, list[int]], float],
    shape: NetworkShape,
) -> None:
    """For one field and many, with and without deep or cross layers, each logit is what the loops give."""
    model = _trained_looking(network, shape)
    rows = np.stack([np.random.default_rng(1).integers(0, size, 12) for size in shape.field_sizes], axis=1)
    logits = model(torch.from_numpy(rows))
    assert logits.shape == (12,)
    assert logits.dtype == torch.float32
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    expected = [by_loops(shape, state, list(map(int, line))) for line in rows]
    assert np.std(expected) > 0.01, "a constant would hide mistakes"
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", OURS)
def test_gradients_are_finite_and_reach_every_parameter(network: type[DCNv2 | PNN | DeepFM | FFM]) -> None:
    """From the very start: nothing is stuck at zero, nothing overflows."""
    torch.manual_seed(0)
    model = network(NetworkShape((9, 7, 3), embedding=4, mlp=(6, 5)))
    rows = torch.stack([torch.randint(size, (64,)) for size in (9, 7, 3)], dim=1)
    nn.functional.binary_cross_entropy_with_logits(model(rows), (rows.sum(1) % 2).float()).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("network", OURS)
def test_no_fields_are_refused(network: type[DCNv2 | PNN | DeepFM | FFM]) -> None:
    """A network without fields, or with a field without rows, is a mistake of the caller."""
    for sizes in ((), (3, 0)):
        with pytest.raises(ValueError, match=f"a {network.__name__} needs at least one field"):
            network(NetworkShape(sizes))


@pytest.mark.parametrize("network", [DeepFM, FFM])
def test_weights_of_the_linear_term_start_at_zero(network: type[DeepFM | FFM]) -> None:
    """A row that training never meets adds nothing to the logit but its interactions."""
    linear = network(NetworkShape((30, 20))).linear
    assert not linear.embedding.weight.any()
    assert linear.bias.item() == 0.0
