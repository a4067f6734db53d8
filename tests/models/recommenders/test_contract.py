"""What every recommender promises: torch, its plain ONNX export and, where it has one, its fold are one function."""

from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from userip.models.graphs.graph import FieldRoles, ScorerGraph
from userip.models.graphs.plain import plain_onnx
from userip.models.recommenders import RECOMMENDERS
from userip.models.recommenders.layers import NetworkShape
from userip.models.recommenders.paths import Paths, build
from userip.release.graph_allowlist import FOLDED, PLAIN, refuse_unsafe

TOLERANCE = 1e-5
SIZES = (40, 60, 5, 4, 7, 3)
ROLES = FieldRoles(item=1, categories=(4,), user=0, slots=(2, 3), context=(5,))
CANDIDATES, REQUESTS = 500, 6
Rows = NDArray[np.int64]


# Nothing beside the network; all paths; each alone.
BESIDE = {
    "": Paths(),
    "paths": Paths(wide=(0, 1, 2, 3, 4, 5), user=(2, 3), item=(1, 4), dot=3, calibrated=True),
    "wide": Paths(wide=(1, 3)),
    "dot": Paths(user=(2,), item=(1,), dot=2),
    "calibrated": Paths(calibrated=True),
}


def _fitted(name: str, beside: str = "", shared: tuple[int, int] | None = None) -> torch.nn.Module:
    """In evaluation mode, with every parameter and statistic away from its start."""
    torch.manual_seed(3)
    model = build(RECOMMENDERS[name].network, NetworkShape(SIZES, shared=shared), BESIDE[beside])
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                noise = torch.randn_like(value) * 0.2
                value.copy_(noise.abs() + 0.5 if key.endswith("running_var") else value + noise)
    return model.eval()


@cache
def _plain(name: str, beside: str = "", shared: tuple[int, int] | None = None) -> ScorerGraph:
    return plain_onnx(_fitted(name, beside, shared), len(SIZES))


@pytest.fixture(scope="module")
def asked() -> tuple[dict[str, Rows], Rows, Rows]:
    """Inputs of a folded graph, the catalogue that it is folded with, and the same as rows [N, F]."""
    rng = np.random.default_rng(0)
    catalogue = np.stack([rng.integers(0, SIZES[field], 50) for field in (ROLES.item, *ROLES.categories)], axis=1)
    catalogue[0] = 0
    feed: dict[str, Rows] = {
        "items": rng.integers(0, len(catalogue), CANDIDATES),
        "request": rng.integers(0, REQUESTS, CANDIDATES),
        "user": rng.integers(0, SIZES[0], REQUESTS),
        "slots": np.stack([rng.integers(0, SIZES[field], REQUESTS) for field in ROLES.slots], axis=1),
        "context": np.stack([rng.integers(0, SIZES[field], REQUESTS) for field in ROLES.context], axis=1),
    }
    feed["user"][0] = feed["slots"][0] = feed["context"][0] = 0  # a stranger
    rows = np.zeros((CANDIDATES, len(SIZES)), np.int64)
    rows[:, [ROLES.item, *ROLES.categories]] = catalogue[feed["items"]]
    rows[:, 0] = feed["user"][feed["request"]]
    rows[:, ROLES.slots] = feed["slots"][feed["request"]]
    rows[:, ROLES.context] = feed["context"][feed["request"]]
    return feed, catalogue, rows


def _run(graph: ScorerGraph, feed: dict[str, Rows]) -> NDArray[np.float32]:
    session = ort.InferenceSession(graph.model, providers=["CPUExecutionProvider"])
    answer: NDArray[np.float32] = session.run(["probability"], {**feed, **graph.tables})[0]
    return answer


def _cases() -> list[tuple[str, str, tuple[int, int] | None]]:
    plain = [(name, "", None) for name in RECOMMENDERS]
    paths = [(name, "paths", None if name == "ffm" else (2, 4)) for name in RECOMMENDERS]
    return [*plain, *paths, *(("dcn", beside, None) for beside in BESIDE if beside not in ("", "paths"))]


@pytest.mark.parametrize(("name", "beside", "shared"), _cases())
def test_torch_plain_and_folded_are_one_function(
    name: str, beside: str, shared: tuple[int, int] | None, asked: tuple[dict[str, Rows], Rows, Rows]
) -> None:
    """Within 1e-5 of each other, for strangers and unknown items too, and for one and many candidates."""
    feed, catalogue, rows = asked
    model = _fitted(name, beside, shared)
    with torch.no_grad():
        expected = torch.sigmoid(model(torch.from_numpy(rows))).numpy()
    assert expected.std() > 1e-2, "a constant answer would agree with anything"
    for count in (1, CANDIDATES):
        answer = _run(_plain(name, beside, shared), {"rows": rows[:count]})
        assert answer.shape == (count,)
        np.testing.assert_allclose(answer, expected[:count], rtol=0, atol=TOLERANCE)
    fold = RECOMMENDERS[name].fold
    if fold is not None:
        folded = fold(model, ROLES, catalogue)
        refuse_unsafe(folded.model, name)
        np.testing.assert_allclose(_run(folded, feed), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_a_plain_graph_may_be_loaded(name: str) -> None:
    """The service's check lets it pass; embeddings are no part of it; nothing tells of the machine that exported it."""
    graph = _plain(name)
    refuse_unsafe(graph.model, name)
    proto = onnx.load_from_string(graph.model)
    assert [value.name for value in proto.graph.input] == ["rows", *graph.tables]
    assert [value.name for value in proto.graph.output] == ["probability"]
    assert {len(table) for table in graph.tables.values()} == {sum(SIZES)}
    assert all(tensor.dims[:1] != [sum(SIZES)] for tensor in proto.graph.initializer)
    assert b".py" not in graph.model


def test_the_same_weights_give_the_same_bytes() -> None:
    """A second export of the same network."""
    assert plain_onnx(_fitted("pnn"), len(SIZES)).model == _plain("pnn").model


def test_no_operator_is_allowed_in_vain() -> None:
    """Two of the plain graphs between them hold all that the list allows beyond the operators of folded ones."""
    graphs = [onnx.load_from_string(_plain(name).model).graph for name in ("pnn", "deepfm")]
    assert {node.op_type for graph in graphs for node in graph.node} - FOLDED == PLAIN
