"""The folded DCN as an ONNX graph: what the service runs.

inputs   items   int64 [N]     item rows of the candidates, of all requests of the batch
         request int64 [N]     which request (0 .. B-1) each candidate belongs to
         user    int64 [B]     user rows; absent without a user field
         slots   int64 [B, S]  codes and user fields as rows, 0 = unknown; absent if S = 0
         context int64 [B, C]  context fields as rows, 0 = unknown; absent if C = 0
tables   item_rows    float32 [n_items, W]  the folded item rows
         request_rows float32 [rows, W]     the user, slot and context tables, one after the other
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

from userip.models.recommenders.folding import FieldRoles, FoldedDCN

OPSET: Final = 17
IR_VERSION: Final = 8


@dataclass(frozen=True)
class ScorerGraph:
    """A graph as the bytes of an ONNX model, and the tables that it is run with: float32 [rows, width] each."""

    model: bytes
    tables: dict[str, npt.NDArray[np.float32]]


class Graph:
    """Nodes and initializers in the order in which they are needed. Every method gives the new value's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.tables: dict[str, npt.NDArray[np.float32]] = {}

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Hold an array."""
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def table(self, name: str, value: npt.NDArray[np.float32]) -> str:
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


def folded_onnx(folded: FoldedDCN, roles: FieldRoles) -> ScorerGraph:
    """Write the folded network as a graph and its tables; the same input gives the same bytes."""
    graph = Graph()
    inputs = [graph_input("items", "N"), graph_input("request", "N")]
    rows = graph.node("Gather", [graph.table("item_rows", folded.items), "items"], "item_row")
    if folded.sizes:
        inputs += request_inputs(roles)
        shared = request_rows(graph, folded, roles)
        spread = graph.node("Gather", [shared, "request"], "request_row")
        rows = graph.node("Add", [rows, spread], "row")
    return closed(graph, inputs, logit_of(graph, folded, rows), "folded_dcn")


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


def request_rows(graph: Graph, folded: FoldedDCN, roles: FieldRoles) -> str:
    """Sum of the rows of user, slots and context: [B, W]."""
    parts = []
    if roles.user is not None:
        axis = graph.constant("axis_one", np.asarray([1], dtype=np.int64))
        parts.append(graph.node("Unsqueeze", ["user", axis], "user_column"))
    parts += [name for name, fields in (("slots", roles.slots), ("context", roles.context)) if fields]
    rows = parts[0] if len(parts) == 1 else graph.node("Concat", parts, "fields", axis=1)
    table = graph.table("request_rows", folded.request)
    if len(folded.sizes) > 1:
        starts = np.cumsum([0, *folded.sizes[:-1]]).astype(np.int64)
        rows = graph.node("Add", [rows, graph.constant("starts", starts)], "places")
    gathered = graph.node("Gather", [table, rows], "gathered")  # [B, fields, W]
    axes = graph.constant("field_axis", np.asarray([1], dtype=np.int64))
    return graph.node("ReduceSum", [gathered, axes], "shared", keepdims=0)


def logit_of(graph: Graph, folded: FoldedDCN, rows: str) -> str:
    """Rows [N, W] -> logits [N]: a_L x_0.w_out + MLP + bias."""
    layers = folded.cross_layers
    hidden = folded.items.shape[1] - layers - 1
    names = [*(f"dot_{layer}" for layer in range(layers)), "dot_out", *(["hidden_0"] if hidden else [])]
    widths = np.asarray([1] * (layers + 1) + [hidden] * bool(hidden), dtype=np.int64)
    sizes = graph.constant("widths", widths)
    graph.split(rows, sizes, names)

    logit = _cross(graph, folded)
    bias = graph.scalar("bias", folded.bias)
    if hidden:
        head = graph.constant("head", folded.head[:, None])
        bias = graph.node("Gemm", [_deep(graph, folded), head, bias], "deep")
    column = graph.node("Add", [logit, bias], "logit_column")  # [N, 1]
    return graph.node("Squeeze", [column, graph.constant("column_axis", np.asarray([1], dtype=np.int64))], "logit")


def _cross(graph: Graph, folded: FoldedDCN) -> str:
    """The recurrence a_{l+1} = a_l (1 + x_0.w_l) + c_l.w_l, then a_L x_0.w_out: [N, 1]."""
    if not folded.cross_layers:
        return "dot_out"
    scale = "dot_0"  # a_1 = 1 + x_0.w_0, since a_0 = 1 and c_0 = 0
    for layer, constant in enumerate(folded.constants[1:], start=1):
        product = graph.node("Mul", [scale, f"dot_{layer}"], f"product_{layer}")
        scale = graph.node("Add", [product, graph.scalar(f"constant_{layer}", constant)], f"scale_{layer + 1}")
    return graph.node("Mul", [scale, "dot_out"], "cross")


def _deep(graph: Graph, folded: FoldedDCN) -> str:
    """The MLP behind its first layer: [N, last width]."""
    active = graph.node("Relu", ["hidden_0"], "active_0")
    for index, (weight, bias) in enumerate(folded.dense, start=1):
        names = [graph.constant(f"weight_{index}", weight), graph.constant(f"bias_{index}", bias)]
        hidden = graph.node("Gemm", [active, *names], f"hidden_{index}")
        active = graph.node("Relu", [hidden], f"active_{index}")
    return active
