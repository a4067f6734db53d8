"""The folded DCN as an ONNX graph: what the service runs.

Inputs are those of `models.graphs.graph`, and the tables

         item_rows    float32 [n_items, W]  the folded item rows
         request_rows float32 [rows, W]     the user, slot and context tables, one after the other; with a dot path
                                            [rows, W + dot]
         item_vectors float32 [n_items, dot]  of a dot path only
"""

import numpy as np

from userip.models.graphs.graph import (
    FieldRoles,
    Float32,
    Graph,
    Rows,
    ScorerGraph,
    closed,
    graph_input,
    request_inputs,
)
from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.dcn_folding import FoldedDCN, fold
from userip.models.recommenders.paths import PathNetwork


def fold_dcn(model: DCN | PathNetwork, roles: FieldRoles, catalogue: Rows) -> ScorerGraph:
    """Fold a fitted DCN into its graph; `dcn_folding.fold` says what `catalogue` is and what is raised."""
    return folded_onnx(fold(model, roles, catalogue), roles)


def folded_onnx(folded: FoldedDCN, roles: FieldRoles) -> ScorerGraph:
    """Write the folded network as a graph and its tables; the same input gives the same bytes."""
    graph = Graph()
    inputs = [graph_input("items", "N"), graph_input("request", "N")]
    rows, dot = graph.node("Gather", [graph.table("item_rows", folded.items), "items"], "item_row"), None
    if folded.sizes:
        inputs += request_inputs(roles)
        shared = request_rows(graph, folded, roles)
        if folded.vectors is not None:
            shared, dot = _dot(graph, folded.vectors, shared, folded.items.shape[1])
        spread = graph.node("Gather", [shared, "request"], "request_row")
        rows = graph.node("Add", [rows, spread], "row")
    logit = logit_of(graph, folded, rows)
    if dot is not None:
        logit = graph.node("Add", [logit, dot], "logit_with_dot")
    return closed(graph, inputs, logit, "folded_dcn")


def _dot(graph: Graph, vectors: Float32, shared: str, width: int) -> tuple[str, str]:
    """Cut the request's rows [B, W + dot] in two; give the W columns, and the products [N] of the vectors."""
    sizes = graph.constant("request_widths", np.asarray([width, vectors.shape[1]], dtype=np.int64))
    shared, of_request = graph.split(shared, sizes, ["shared_row", "request_vector"])
    item = graph.node("Gather", [graph.table("item_vectors", vectors), "items"], "item_vector")
    user = graph.node("Gather", [of_request, "request"], "user_vector")
    product = graph.node("Mul", [item, user], "product_of_vectors")
    axis = graph.constant("vector_axis", np.asarray([1], dtype=np.int64))
    return shared, graph.node("ReduceSum", [product, axis], "dot", keepdims=0)


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
    """Rows [N, W] -> logits [N]: a_L x_0.w_out + MLP + bias, and the wide path."""
    layers = folded.cross_layers
    hidden = folded.items.shape[1] - layers - 1 - folded.wide
    names = [*(f"dot_{layer}" for layer in range(layers)), "dot_out", *["hidden_0"] * bool(hidden)]
    names += ["wide"] * folded.wide
    widths = np.asarray([1] * (layers + 1) + [hidden] * bool(hidden) + [1] * folded.wide, dtype=np.int64)
    sizes = graph.constant("widths", widths)
    graph.split(rows, sizes, names)

    logit = _cross(graph, folded)
    bias = graph.scalar("bias", folded.bias)
    if hidden:
        head = graph.constant("head", folded.head[:, None])
        bias = graph.node("Gemm", [_deep(graph, folded), head, bias], "deep")
    column = graph.node("Add", [logit, bias], "logit_column")  # [N, 1]
    if folded.wide:
        column = graph.node("Add", [column, "wide"], "logit_and_wide")
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
