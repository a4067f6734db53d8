"""Graphs that are refused before ONNX Runtime sees them. The files are made with the `onnx` library."""

import re
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.fixtures.tiny_release import TinyRelease, scorer_graph
from userip.release.errors import ReleaseError
from userip.release.graph_allowlist import FOLDED, refuse_unsafe

ROOT = Path(__file__).parents[2]
WRITERS = ("graphs/graph.py", "recommenders/dcn_graph.py", "recommenders/kar_graph.py")


def custom_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def custom_node(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "evil.ops"


def function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(helper.make_function("", "f", ["x"], ["y"], [node], [helper.make_opsetid("", 17)]))


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def external_in_an_attribute(model: onnx.ModelProto) -> None:
    """The same, hidden in an attribute of a node."""
    tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [0.0])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "secret.bin"
    model.graph.node.append(helper.make_node("Add", [], ["o"], value=tensor))


def branch_of_an_allowed_operator(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(helper.make_node("Add", ["x"], ["z"], body=inner))


def bomb(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("ConstantOfShape", ["items"], ["z"]))


def many_nodes(model: onnx.ModelProto) -> None:
    model.graph.node.extend([helper.make_node("Relu", ["x"], ["y"])] * 2000)


def many_tensors(model: onnx.ModelProto) -> None:
    model.graph.initializer.extend([helper.make_tensor("t", TensorProto.FLOAT, [0], [])] * 2000)


def custom_node_in_a_branch(model: onnx.ModelProto) -> None:
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, [1])
    inner = helper.make_graph([helper.make_node("Evil", [], ["o"], domain="evil.ops")], "inner", [], [out])
    model.graph.node.append(helper.make_node("If", ["condition"], ["z"], then_branch=inner, else_branch=inner))


def external_sparse(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("values", TensorProto.FLOAT, [1], [0.0])
    values.data_location = TensorProto.EXTERNAL
    indices = helper.make_tensor("indices", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (custom_domain, "'com.microsoft'"),
        (custom_node, "'evil.ops'"),
        (custom_node_in_a_branch, "'If'"),
        (branch_of_an_allowed_operator, "graphs inside its graph"),
        (bomb, "'ConstantOfShape'"),
        (many_nodes, "more than 2000 nodes"),
        (many_tensors, "more than 2000 tensors"),
        (function, "functions of its own"),
        (external, "outside the file"),
        (external_in_an_attribute, "outside the file"),
        (external_sparse, "sparse"),
    ],
)
def test_unsafe_graph_is_refused(tiny: TinyRelease, harm: Callable[[onnx.ModelProto], None], reason: str) -> None:
    """Operators of no export, functions and external data are found wherever they hide."""
    model = scorer_graph(tiny)
    refuse_unsafe(model.SerializeToString(), "x/scorer.onnx")
    harm(model)
    with pytest.raises(ReleaseError, match=r"x/scorer\.onnx: .*" + reason):
        refuse_unsafe(model.SerializeToString(), "x/scorer.onnx")


def test_every_operator_of_the_folded_graphs_is_allowed_and_no_other() -> None:
    """The list is what their sources name, and Sum, of which old exports are made; plain ones are held elsewhere."""
    sources = " ".join((ROOT / "models" / name).read_text() for name in WRITERS)
    written = set(re.findall(r"(?:node|make_node)\(\s*\"([A-Z]\w+)\"", sources))
    assert len(written) > 10
    assert written | {"Sum"} == FOLDED


def test_cut_file_is_refused(tiny: TinyRelease) -> None:
    """A file that ends in the middle of a field is no ONNX file; no cut makes the check itself fail."""
    content = scorer_graph(tiny).SerializeToString()
    refused = 0
    for end in range(0, len(content), 7):
        try:
            refuse_unsafe(content[:end], "scorer.onnx")
        except ReleaseError:
            refused += 1
    assert refused > len(content) // 14


def test_bytes_that_are_no_protobuf_are_refused() -> None:
    """Text, an endless number, groups."""
    for content in (b"not a model", b"\xff" * 20, b"\x0b\x0c", b"\x3a\xff\xff\xff\xff\x0f"):
        with pytest.raises(ReleaseError, match="not an ONNX file"):
            refuse_unsafe(content, "scorer.onnx")
