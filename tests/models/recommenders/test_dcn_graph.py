"""torch, the plain ONNX export and the folded ONNX graph are one function."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from userip.models.graphs.graph import OPSET, FieldRoles
from userip.models.graphs.plain import plain_onnx
from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.dcn_folding import fold
from userip.models.recommenders.dcn_graph import folded_onnx
from userip.models.recommenders.layers import NetworkShape

TOLERANCE = 1e-5
Rows = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float32]


def _session(content: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _random_dcn(shape: NetworkShape, seed: int, spread: float = 0.5) -> DCN:
    torch.manual_seed(seed)
    model = DCN(shape)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                noise = torch.randn_like(value) * spread
                value.copy_(noise.abs() + 0.1 if name.endswith("running_var") else value + noise)
    return model.eval()


def _to_logit(model: DCN, rows: Rows, logit: float) -> None:
    """Scale the head so that the largest logit over `rows` is `logit` in size."""
    with torch.no_grad():
        largest = float(model(torch.from_numpy(rows)).abs().max())
    _scale_head(model, logit / largest)


def _to_terms(model: DCN, rows: Rows, total: float) -> None:
    """Scale the head so that the terms of the largest logit add up to `total` in absolute value.

    Scaled by the logit, terms that cancel would be blown up until float32 is off by 1e-5, in torch as well.
    """
    inputs: list[torch.Tensor] = []
    hook = model.head.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with torch.no_grad():
        model(torch.from_numpy(rows))
        hook.remove()
        largest = float((inputs[0].abs() @ model.head.weight.abs().T).max() + model.head.bias.abs())
    _scale_head(model, total / largest)


def _scale_head(model: DCN, factor: float) -> None:
    with torch.no_grad():
        for value in (model.head.weight, model.head.bias):
            value.mul_(factor)


@dataclass(frozen=True)
class Batch:
    """Requests with their candidates, as the service hands them to the graph, and as rows of the DCN."""

    feed: dict[str, Rows]
    rows: Rows


def _batch(roles: FieldRoles, sizes: tuple[int, ...], catalogue: Rows, *, n: int, b: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    items = rng.integers(0, len(catalogue), n)
    request = rng.integers(0, b, n)  # interleaved on purpose: a candidate's request may be any
    rows = np.zeros((n, len(sizes)), dtype=np.int64)
    rows[:, [roles.item, *roles.categories]] = catalogue[items]
    feed: dict[str, Rows] = {"items": items, "request": request}
    for name, fields in (("slots", roles.slots), ("context", roles.context)):
        if fields:
            feed[name] = np.stack([rng.integers(0, sizes[f], b) for f in fields], axis=1)
            rows[:, list(fields)] = feed[name][request]
    if roles.user is not None:
        feed["user"] = rng.integers(0, sizes[roles.user], b)
        rows[:, roles.user] = feed["user"][request]
    return Batch(feed, rows)


def _catalogue(roles: FieldRoles, sizes: tuple[int, ...], seed: int) -> Rows:
    """Every item with random categories; line 0 is unknown in all of them."""
    rng = np.random.default_rng(seed)
    n = sizes[roles.item]
    columns = [np.arange(n), *(rng.integers(0, sizes[f], n) for f in roles.categories)]
    catalogue = np.stack(columns, axis=1).astype(np.int64)
    catalogue[0] = 0
    return catalogue


def _by_torch(model: DCN, rows: Rows) -> Probabilities:
    with torch.no_grad():
        result: Probabilities = torch.sigmoid(model(torch.from_numpy(rows))).numpy()
    return result


def _by_folded(model: DCN, roles: FieldRoles, catalogue: Rows, feed: dict[str, Rows]) -> Probabilities:
    graph = folded_onnx(fold(model, roles, catalogue), roles)
    result: Probabilities = _session(graph.model).run(["probability"], feed | graph.tables)[0]
    return result


@st.composite
def _cases(draw: st.DrawFn) -> tuple[NetworkShape, FieldRoles]:
    """Any roles in any order, any depth, any widths, none included."""
    counts = [draw(st.integers(0, high)) for high in (2, 1, 3, 2)]
    total = 1 + sum(counts)
    places = iter(draw(st.permutations(range(total))))
    item = next(places)
    categories, user, slots, context = ([next(places) for _ in range(count)] for count in counts)
    roles = FieldRoles(item, tuple(categories), user[0] if user else None, tuple(slots), tuple(context))
    shape = NetworkShape(
        tuple(draw(st.lists(st.integers(1, 9), min_size=total, max_size=total))),
        embedding=draw(st.integers(1, 8)),
        cross_layers=draw(st.integers(0, 4)),
        mlp=tuple(draw(st.lists(st.integers(1, 9), max_size=3))),
    )
    return shape, roles


@settings(max_examples=120, deadline=None)
@given(
    case=_cases(),
    n=st.sampled_from([0, 1, 2, 33, 700]),
    b=st.integers(1, 5),
    seed=st.integers(0, 10_000),
    total=st.sampled_from([0.1, 5.0, 50.0]),
)
def test_folded_equals_torch(case: tuple[NetworkShape, FieldRoles], n: int, b: int, seed: int, total: float) -> None:
    """For any fields, depth and widths; for no, one and many candidates; for small and saturated logits."""
    shape, roles = case
    model = _random_dcn(shape, seed)
    catalogue = _catalogue(roles, shape.field_sizes, seed)
    batch = _batch(roles, shape.field_sizes, catalogue, n=n, b=b, seed=seed)
    if n:
        _to_terms(model, batch.rows, total)
    folded = _by_folded(model, roles, catalogue, batch.feed)
    assert folded.shape == (n,)
    np.testing.assert_allclose(folded, _by_torch(model, batch.rows), rtol=0, atol=TOLERANCE)


ROLES = FieldRoles(item=1, categories=(4,), user=0, slots=(2, 3), context=(5,))
SIZES = (40, 60, 5, 4, 7, 3)


def _tiny_variance(model: DCN) -> None:
    with torch.no_grad():
        for module in model.mlp:
            if isinstance(module, torch.nn.BatchNorm1d):
                assert module.running_var is not None
                module.running_var.fill_(1e-12)
                module.weight.mul_(1e-2)


def _huge_embeddings(model: DCN) -> None:
    with torch.no_grad():
        model.embedding.weight.mul_(20.0)


@pytest.mark.parametrize(
    ("shape", "roles", "extreme", "logit"),
    [
        (NetworkShape(SIZES), ROLES, None, 4.0),
        (NetworkShape(SIZES), ROLES, _tiny_variance, 50.0),
        (NetworkShape(SIZES, cross_layers=1), ROLES, _huge_embeddings, 50.0),
        (NetworkShape(SIZES, cross_layers=0, mlp=(16, 8, 4)), ROLES, _huge_embeddings, 30.0),
        (NetworkShape(SIZES, mlp=()), ROLES, None, 50.0),
        (NetworkShape((30,), mlp=(5,)), FieldRoles(item=0), None, 3.0),
    ],
)
def test_torch_plain_and_folded_agree(shape: NetworkShape, roles: FieldRoles, extreme: object, logit: float) -> None:
    """The three differ by at most 1e-5, with huge weights, tiny variances and saturated logits as well."""
    model = _random_dcn(shape, seed=3, spread=0.3)
    if callable(extreme):
        extreme(model)
    catalogue = _catalogue(roles, shape.field_sizes, seed=3)
    batch = _batch(roles, shape.field_sizes, catalogue, n=5000, b=7, seed=3)
    _to_logit(model, batch.rows, logit)
    expected = _by_torch(model, batch.rows)
    assert expected.std() > 1e-3, "a constant answer would agree with anything"
    graph = plain_onnx(model, len(shape.field_sizes))
    plain = _session(graph.model).run(["probability"], {"rows": batch.rows, **graph.tables})[0]
    folded = _by_folded(model, roles, catalogue, batch.feed)
    assert np.abs(plain - expected).max() <= TOLERANCE
    assert np.abs(folded - expected).max() <= TOLERANCE
    assert np.abs(folded - plain).max() <= TOLERANCE


def test_a_stranger_asking_for_an_unknown_item_gets_row_0_of_everything() -> None:
    """Row 0 everywhere is what the network says about nothing known at all."""
    model = _random_dcn(NetworkShape(SIZES), seed=5)
    feed = {
        "items": np.zeros(3, np.int64),
        "request": np.zeros(3, np.int64),
        "user": np.zeros(1, np.int64),
        "slots": np.zeros((1, 2), np.int64),
        "context": np.zeros((1, 1), np.int64),
    }
    folded = _by_folded(model, ROLES, _catalogue(ROLES, SIZES, seed=5), feed)
    np.testing.assert_allclose(folded, _by_torch(model, np.zeros((3, 6), np.int64)), rtol=0, atol=TOLERANCE)


def test_requests_of_a_batch_do_not_mix() -> None:
    """A batch of interleaved requests gives each the scores that it gets alone."""
    model = _random_dcn(NetworkShape(SIZES), seed=6)
    catalogue = _catalogue(ROLES, SIZES, seed=6)
    feed = _batch(ROLES, SIZES, catalogue, n=200, b=6, seed=6).feed
    graph = folded_onnx(fold(model, ROLES, catalogue), ROLES)
    session = _session(graph.model)
    together = session.run(["probability"], feed | graph.tables)[0]
    for one in range(6):
        mine = feed["request"] == one
        alone = {name: feed[name][one : one + 1] for name in ("user", "slots", "context")}
        alone |= {"items": feed["items"][mine], "request": np.zeros(mine.sum(), np.int64)}
        np.testing.assert_array_equal(session.run(["probability"], alone | graph.tables)[0], together[mine])


def test_the_graph_is_self_contained_and_deterministic() -> None:
    """Standard domain, no functions, no external data, the stated opset, and the same bytes twice."""
    model = _random_dcn(NetworkShape(SIZES), seed=7)
    folded = fold(model, ROLES, _catalogue(ROLES, SIZES, seed=7))
    graph = folded_onnx(folded, ROLES)
    assert graph.model == folded_onnx(folded, ROLES).model
    proto = onnx.load_from_string(graph.model)
    tables = ["item_rows", "request_rows"]
    assert list(graph.tables) == tables
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", OPSET)]
    assert not proto.functions
    assert {node.domain for node in proto.graph.node} == {""}
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in proto.graph.initializer)
    assert [value.name for value in proto.graph.input] == ["items", "request", "user", "slots", "context", *tables]
    assert [value.name for value in proto.graph.output] == ["probability"]


def test_absent_parts_are_absent_inputs() -> None:
    """Without user field, slots or context the graph does not ask for them."""
    model = _random_dcn(NetworkShape((5, 6, 3)), seed=8)
    for roles, names in (
        (FieldRoles(item=0, slots=(1, 2)), ["items", "request", "slots"]),
        (FieldRoles(item=0, user=1, context=(2,)), ["items", "request", "user", "context"]),
        (FieldRoles(item=0, categories=(1, 2)), ["items", "request"]),
    ):
        graph = folded_onnx(fold(model, roles, _catalogue(roles, (5, 6, 3), seed=8)), roles)
        assert [value.name for value in _session(graph.model).get_inputs()] == [*names, *graph.tables]


def test_roles_and_catalogue_must_fit_the_network() -> None:
    """A field without a role, or a catalogue of another width, is refused before a wrong graph exists."""
    model = _random_dcn(NetworkShape((5, 6, 3)), seed=9)
    with pytest.raises(ValueError, match="name each of the 3 fields once"):
        fold(model, FieldRoles(item=0, user=1), np.zeros((5, 1), np.int64))
    with pytest.raises(ValueError, match="catalogue has shape"):
        fold(model, FieldRoles(item=0, categories=(1,), user=2), np.zeros((5, 1), np.int64))
