"""torch and the graphs of both serving modes are one function."""

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from tests.models.small_kar import ROLES, Requests, requests, small_kar
from userip.models.graphs.graph import FieldRoles, ScorerGraph
from userip.models.recommenders.kar import AdaptorShape, KarDCN
from userip.models.recommenders.kar_graph import (
    adapted_table,
    kar_online_onnx,
    kar_prestored_onnx,
    prestored_users,
)

TOLERANCE = 1e-5
Array = npt.NDArray[np.generic]


def _session(content: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _by_torch(model: KarDCN, wanted: Requests) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        result: npt.NDArray[np.float32] = torch.sigmoid(model(torch.from_numpy(wanted.rows))).numpy()
    return result


def _modes(model: KarDCN, roles: FieldRoles, asked: Requests) -> dict[str, tuple[bytes, dict[str, Array]]]:
    """The model and its inputs in each mode."""
    stored = (model, roles, asked.catalogue, asked.catalogue_texts)
    vectors, adapted = model.user_vectors.numpy(), prestored_users(model)
    modes: dict[str, tuple[ScorerGraph, Array]] = {
        "online": (kar_online_onnx(*stored), vectors),
        "prestored": (kar_prestored_onnx(*stored), adapted),
    }
    return {
        mode: (graph.model, {**asked.feed, **graph.tables, "vector": users[asked.user_texts]})
        for mode, (graph, users) in modes.items()
    }


CASES: dict[str, tuple[tuple[int, ...], FieldRoles, AdaptorShape]] = {
    "all fields": ((40, 60, 5, 4, 7, 3), ROLES, AdaptorShape(vector=12, shared=2, dedicated=3, hidden=9, out=5)),
    "published sizes": ((40, 60, 5, 4, 7, 3), ROLES, AdaptorShape()),
    "no user field": ((60, 7), FieldRoles(item=0, categories=(1,)), AdaptorShape(vector=8, hidden=4, out=3)),
    "one expert": ((60, 9), FieldRoles(item=0, user=1), AdaptorShape(8, shared=1, dedicated=1, hidden=4, out=1)),
}


@pytest.mark.parametrize("n", [0, 1, 700])
@pytest.mark.parametrize("case", CASES)
def test_all_modes_equal_torch(case: str, n: int) -> None:
    """Online and prestored differ from torch, and so from each other, by at most 1e-5."""
    sizes, roles, adaptor = CASES[case]
    model = small_kar(sizes, adaptor, seed=n)
    asked = requests(model, roles, n=n, seed=n)
    expected = _by_torch(model, asked)
    if n > 1:
        assert expected.std() > 1e-2, "a constant answer would agree with anything"
        assert np.abs(expected - 0.5).max() < 0.49999, "so would a saturated one"
    for mode, (content, feed) in _modes(model, roles, asked).items():
        answer = _session(content).run(["probability"], feed)[0]
        assert answer.shape == (n,)
        np.testing.assert_allclose(answer, expected, rtol=0, atol=TOLERANCE, err_msg=mode)


@pytest.mark.parametrize(("mlp", "cross_layers"), [((), 3), ((16, 8, 4), 0)])
def test_any_depth_is_the_same_function(mlp: tuple[int, ...], cross_layers: int) -> None:
    """Without an MLP, and without cross layers."""
    model = small_kar(seed=8, mlp=mlp, cross_layers=cross_layers)
    asked = requests(model, seed=8)
    for mode, (content, feed) in _modes(model, ROLES, asked).items():
        answer = _session(content).run(["probability"], feed)[0]
        np.testing.assert_allclose(answer, _by_torch(model, asked), rtol=0, atol=TOLERANCE, err_msg=mode)


def test_what_is_stored_is_what_the_adaptor_says() -> None:
    """Table and network agree bit for bit over the same vectors; with the online graph they agree to rounding."""
    model = small_kar(seed=5)
    asked = requests(model, b=6, seed=5)
    content, feed = _modes(model, ROLES, asked)["online"]
    proto = onnx.load_from_string(content)
    for name in ("user_adapted", "item_adapted"):
        proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    said = _session(proto.SerializeToString()).run(["user_adapted", "item_adapted"], feed)
    for branch, texts, answer in (("user", asked.user_texts, said[0]), ("item", asked.item_texts, said[1])):
        table = adapted_table(model, branch)  # type: ignore[arg-type]
        vectors = model.user_vectors if branch == "user" else model.item_vectors
        with torch.no_grad():
            assert np.array_equal(table, model.adaptor(vectors, branch).numpy())
        np.testing.assert_allclose(answer, table[texts], rtol=0, atol=2e-6)
    assert said[0].shape == (6, 5), "the user's branch runs once per request, not per candidate"


def test_a_candidate_gets_the_same_answer_alone() -> None:
    """Requests of a batch do not mix: prestored answers of one request alone are those of the batch, bit for bit."""
    model = small_kar(seed=6)
    asked = requests(model, n=100, seed=6)
    content, feed = _modes(model, ROLES, asked)["prestored"]
    session = _session(content)
    together = session.run(["probability"], feed)[0]
    for one in range(4):
        mine = feed["request"] == one
        alone = {name: feed[name][one : one + 1] for name in ("user", "slots", "context", "vector")}
        alone |= {name: feed[name] for name in ("item_rows", "request_rows")}
        alone |= {"items": feed["items"][mine], "request": np.zeros(mine.sum(), np.int64)}
        np.testing.assert_allclose(session.run(["probability"], alone)[0], together[mine], rtol=0, atol=1e-6)


def test_the_modes_differ_in_what_is_asked_for_and_done() -> None:
    """Online takes the items' vectors and holds the adaptor; prestored takes a_user and holds no adaptor."""
    model = small_kar(seed=7)
    asked = requests(model, seed=7)
    common = ["items", "request", "user", "slots", "context", "vector", "item_rows", "request_rows"]
    extra = {"online": ["item_vectors"], "prestored": []}
    widths = {"online": 12, "prestored": 5}
    gates = {"online": 2, "prestored": 0}
    for mode, (content, _) in _modes(model, ROLES, asked).items():
        graph = onnx.load_from_string(content).graph
        assert [value.name for value in graph.input] == common + extra[mode]
        assert graph.input[5].type.tensor_type.shape.dim[1].dim_value == widths[mode]
        assert sum(node.op_type == "Softmax" for node in graph.node) == gates[mode]
        assert {node.domain for node in graph.node} == {""}
        assert content == _modes(model, ROLES, asked)[mode][0]


def test_one_text_per_catalogue_row_is_asked_for() -> None:
    """A list of texts that does not fit the catalogue is refused before a wrong graph exists."""
    model = small_kar()
    asked = requests(model)
    with pytest.raises(ValueError, match=r"texts has shape \(3,\), expected \[70\]"):
        kar_prestored_onnx(model, ROLES, asked.catalogue, np.zeros(3, np.int64))
