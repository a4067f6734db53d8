"""An ONNX graph under construction, and the inputs that all graphs with folded rows have.

inputs   items   int64 [N]     item rows of the candidates, of all requests of the batch
         request int64 [N]     which request (0 .. B-1) each candidate belongs to
         user    int64 [B]     user rows; absent without a user field
         slots   int64 [B, S]  codes and user fields as rows, 0 = unknown; absent if S = 0
         context int64 [B, C]  context fields as rows, 0 = unknown; absent if C = 0
tables   float32 [rows, width] each, under names of the graph's own
output   probability float32 [N]

The tables are inputs too, given anew with every run: so they can lie in files of their own that all workers
map into memory, and no protobuf bounds them. That costs 0.7 us a run (measured).
Rows must be within the sizes of the manifest's fields: for a larger one the graph would read another field's
row, or stop. Only operators of the standard domain, no functions, no external data.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 17
IR_VERSION: Final = 8

Float32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FieldRoles:
    """Which position of a network's fields plays which part in the graph.

    item        position of the item_id field
    categories  positions of the item fields
    user        position of the user_id field, or None
    slots       positions of codes and user fields, in the order of a record's slots
    context     positions of the context fields, in the order of the graph's columns
    """

    item: int
    categories: tuple[int, ...] = ()
    user: int | None = None
    slots: tuple[int, ...] = ()
    context: tuple[int, ...] = ()

    @property
    def request(self) -> tuple[int, ...]:
        """The fields that all candidates of a request share, in the order of their tables in the graph."""
        return (*(() if self.user is None else (self.user,)), *self.slots, *self.context)


@dataclass(frozen=True)
class ScorerGraph:
    """A graph as the bytes of an ONNX model, and the tables that it is run with: float32 [rows, width] each."""

    model: bytes
    tables: dict[str, Float32]


class Graph:
    """Nodes and initializers in the order in which they are needed. Every method gives the new value's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.tables: dict[str, Float32] = {}

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Hold an array."""
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def table(self, name: str, value: Float32) -> str:
        """Take a table [rows, width] as an input."""
        self.tables[name] = np.ascontiguousarray(value)
        return name

    def scalar(self, name: str, value: float) -> str:
        """Hold one number, float32 [1]."""
        return self.constant(name, np.asarray([value], dtype=np.float32))

    def node(self, operator: str, inputs: list[str], output: str, **attributes: int) -> str:
        """Add one operator with one output."""
        node = helper.make_node(operator, inputs, [output], output, **attributes)  # type: ignore[arg-type]
        self.nodes.append(node)  # (the stub gives attributes the type of make_node's own keywords)
        return output

    def split(self, value: str, sizes: str, outputs: list[str]) -> list[str]:
        """Cut the columns of `value` into pieces of these sizes."""
        self.nodes.append(helper.make_node("Split", [value, sizes], outputs, name=f"split_{value}", axis=1))
        return outputs


def closed(graph: Graph, inputs: list[onnx.ValueInfoProto], logit: str, name: str) -> ScorerGraph:
    """Close `graph` with the probability of its logits; the model is checked. Tables come behind `inputs`."""
    graph.node("Sigmoid", [logit], "probability")
    output = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"])
    tables = [graph_input(table, *value.shape, kind=TensorProto.FLOAT) for table, value in graph.tables.items()]
    model = helper.make_model(
        helper.make_graph(graph.nodes, name, [*inputs, *tables], [output], graph.initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="userip",
    )
    onnx.checker.check_model(model, full_check=True)
    return ScorerGraph(model.SerializeToString(deterministic=True), graph.tables)


def graph_input(name: str, *shape: str | int, kind: int = TensorProto.INT64) -> onnx.ValueInfoProto:
    """Declare an input of this shape, of rows unless `kind` says otherwise."""
    return helper.make_tensor_value_info(name, kind, list(shape))


def request_inputs(roles: FieldRoles) -> list[onnx.ValueInfoProto]:
    """Declare `user`, `slots` and `context`, where there are such fields."""
    inputs = [] if roles.user is None else [graph_input("user", "B")]
    for name, fields in (("slots", roles.slots), ("context", roles.context)):
        if fields:
            inputs.append(graph_input(name, "B", len(fields)))
    return inputs
