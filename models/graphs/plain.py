"""A recommender as it stands, exported by torch's own exporter: served where there is no fold, the reference where
there is one.

input   rows         int64 [N, F]              a row of every field, in the network's order, for each candidate
tables               float32 [rows, width]     its embeddings, which the release keeps in files of their own
output  probability  float32 [N]

It does the whole work of the network for each candidate: user and codes are repeated.
"""

import contextlib
import io
import logging
import warnings

import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from userip.models.graphs.graph import Float32, ScorerGraph, graph_input

ROWS = "rows"


class _Probability(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Tensor) -> Tensor:
        return torch.sigmoid(self.model(rows))


def plain_onnx(model: nn.Module, fields: int) -> ScorerGraph:
    """Export a network over so many fields, in evaluation mode; the same weights give the same bytes.

    Raises ValueError for a network that takes its number of rows as an integer, `len(rows)`: its graph would keep it.
    """
    rows = torch.zeros(2, fields, dtype=torch.int64)
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    registry.setLevel(logging.ERROR)  # it warns of each operator of torchvision, which is not needed here
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # torch 2.13 copies its own deprecated tree specs while it exports; nothing here can change that.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        program = torch.onnx.export(
            _Probability(model).eval(),
            (rows,),
            input_names=[ROWS],
            output_names=["probability"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return _as_release(program.model_proto)


def _as_release(exported: onnx.ModelProto) -> ScorerGraph:
    """Make the embeddings inputs, and leave out what the exporter notes of the machine and its source files."""
    graph = exported.graph
    if not graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise ValueError("the exported graph takes a fixed number of rows; use -1 in views instead of len(rows)")
    tables = _lifted(graph)
    graph.ClearField("value_info")
    for part in (exported, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    exported.producer_name = "userip"
    exported.ClearField("producer_version")
    onnx.checker.check_model(exported, full_check=True)
    return ScorerGraph(exported.SerializeToString(deterministic=True), tables)


def _lifted(graph: onnx.GraphProto) -> dict[str, Float32]:
    """Turn the tables of the graph's embeddings from initializers into inputs, named table_0, table_1, .."""
    looked_up = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    held = [
        tensor
        for tensor in graph.initializer
        if tensor.name in looked_up and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
    ]
    tables: dict[str, Float32] = {}
    for number, tensor in enumerate(held):
        name = f"table_{number}"
        tables[name] = numpy_helper.to_array(tensor).copy()
        graph.input.append(graph_input(name, *tensor.dims, kind=TensorProto.FLOAT))
        for node in graph.node:
            node.input[:] = [name if given == tensor.name else given for given in node.input]
        graph.initializer.remove(tensor)
    return tables
