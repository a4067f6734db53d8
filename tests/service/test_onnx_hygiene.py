"""Graphs that are refused before ONNX Runtime sees them. The files are made with the `onnx` library."""

from collections.abc import Callable

import onnx
import pytest
from onnx import TensorProto, helper

from bank.errors import ReleaseError
from service.onnx_hygiene import refuse_unsafe
from tests.service.tiny_release import TinyRelease, scorer_graph


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


def external_in_a_branch(model: onnx.ModelProto) -> None:
    """The same, hidden in a constant of an inner graph."""
    tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [0.0])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "secret.bin"
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, [1])
    constant = helper.make_node("Constant", [], ["o"], value=tensor)
    inner = helper.make_graph([constant], "inner", [], [out])
    model.graph.node.append(helper.make_node("If", ["condition"], ["z"], then_branch=inner, else_branch=inner))


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
        (custom_node_in_a_branch, "'evil.ops'"),
        (function, "functions of its own"),
        (external, "outside the file"),
        (external_in_a_branch, "outside the file"),
        (external_sparse, "outside the file"),
    ],
)
def test_unsafe_graph_is_refused(tiny: TinyRelease, harm: Callable[[onnx.ModelProto], None], reason: str) -> None:
    """Custom operators, functions and external data are found wherever they hide."""
    model = scorer_graph(tiny)
    refuse_unsafe(model.SerializeToString(), "x/scorer.onnx")
    harm(model)
    with pytest.raises(ReleaseError, match=r"x/scorer\.onnx: .*" + reason):
        refuse_unsafe(model.SerializeToString(), "x/scorer.onnx")


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
