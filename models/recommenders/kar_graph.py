"""KAR's network as ONNX graphs, in the serving modes that docs/method.md#kar-baseline asks to be timed.

mode              user side of a request            item side of a candidate         graph
online      (A)   its vector, adapted in the graph  its vector, adapted in the graph `kar_online_onnx`
prestored   (B)   a_user, fetched                   folded into the item's row       `kar_prestored_onnx`

Inputs and tables are those of `models.recommenders.dcn_graph`, and then

         vector        float32 [B, V]             what is stored per user: the vector of the text, or in mode B
                                                  a row of `prestored_users`; zeros for a user without a text
tables   item_vectors  float32 [n_items, vector]  mode A: the text's vector of every item row

output   probability   float32 [N]

The fields are folded as those of our own network are (`models.recommenders.dcn_folding`), and a_user and a_item too
enter a row by one product with the folded columns. The user's branch runs once per request, whatever the candidates.
"""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto

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
from userip.models.recommenders.dcn_folding import FoldedDCN, fold, folded_columns
from userip.models.recommenders.dcn_graph import logit_of, request_rows
from userip.models.recommenders.kar import Branch, HybridExperts, KarDCN

Form = Literal["vector", "adapted"]


def kar_online_onnx(model: KarDCN, roles: FieldRoles, catalogue: Rows, texts: Rows) -> ScorerGraph:
    """Mode A: vectors are stored, 4 * `vector` bytes per user and item; the whole adaptor runs in the graph.

    catalogue  int64 [n_items, 1 + categories], as in `models.recommenders.dcn_folding.fold`, which says what is raised
    texts      int64 [n_items], the row of `model.item_vectors` of every item row of the graph; 0 = no text
    """
    vectors = model.item_vectors.numpy()[_checked(texts, catalogue)]
    return _model(model, fold(model, roles, catalogue), roles, user="vector", item_vectors=vectors)


def kar_prestored_onnx(model: KarDCN, roles: FieldRoles, catalogue: Rows, texts: Rows) -> ScorerGraph:
    """Mode B: no adaptor in the graph; 4 * `out` bytes are fetched per request. `texts` as in mode A."""
    folded = fold(model, roles, catalogue)
    added = adapted_table(model, "item")[_checked(texts, catalogue)].astype(np.float64) @ _columns(model, "item")
    added += adapted_table(model, "user")[0].astype(np.float64) @ _columns(model, "user")  # of nobody: in every row
    folded = replace(folded, items=(folded.items + added).astype(np.float32))
    return _model(model, folded, roles, user="adapted")


def prestored_users(model: KarDCN) -> Float32:
    """What mode B stores per user, float32 [rows, out]: a_user less that of a user without a text, who gets zeros."""
    adapted = adapted_table(model, "user")
    without: Float32 = adapted - adapted[0]
    return without


def adapted_table(model: KarDCN, branch: Branch) -> Float32:
    """a_user or a_item of every row of the model's table, float32 [rows, out]."""
    table = model.user_vectors if branch == "user" else model.item_vectors
    with torch.inference_mode():
        adapted: Float32 = model.adaptor(table, branch).numpy()
    return adapted


def _checked(texts: Rows, catalogue: Rows) -> Rows:
    if texts.shape != (len(catalogue),):
        raise ValueError(f"texts has shape {texts.shape}, expected [{len(catalogue)}], one per catalogue row")
    return texts


def _columns(model: KarDCN, branch: Branch) -> npt.NDArray[np.float64]:
    """What turns a_user or a_item [out] into its part of a folded row: [out, W]."""
    out = model.shape.adaptor.out
    columns = folded_columns(model)[:, -2 * out :]
    return (columns[:, :out] if branch == "user" else columns[:, out:]).T


def _model(
    model: KarDCN, folded: FoldedDCN, roles: FieldRoles, *, user: Form, item_vectors: Float32 | None = None
) -> ScorerGraph:
    shape, graph = model.shape.adaptor, Graph()
    inputs = [graph_input("items", "N"), graph_input("request", "N"), *request_inputs(roles)]
    rows = graph.node("Gather", [graph.table("item_rows", folded.items), "items"], "item_row")

    width = shape.vector if user == "vector" else shape.out
    inputs.append(graph_input("vector", "B", width, kind=TensorProto.FLOAT))
    adapted = _adapted(graph, model.adaptor, "vector", "user") if user == "vector" else "vector"
    shared = _entered(graph, model, "user", adapted)
    if folded.sizes:
        shared = graph.node("Add", [shared, request_rows(graph, folded, roles)], "request_side")
    spread = graph.node("Gather", [shared, "request"], "request_row")
    rows = graph.node("Add", [rows, spread], "row")

    if item_vectors is not None:
        vectors = graph.node("Gather", [graph.table("item_vectors", item_vectors), "items"], "candidate_vectors")
        entered = _entered(graph, model, "item", _adapted(graph, model.adaptor, vectors, "item"))
        rows = graph.node("Add", [rows, entered], "row_with_text")
    return closed(graph, inputs, logit_of(graph, folded, rows), "kar_dcn")


def _entered(graph: Graph, model: KarDCN, branch: Branch, adapted: str) -> str:
    """The part of the folded rows that comes from a_user or a_item."""
    columns = graph.constant(f"{branch}_columns", _columns(model, branch).astype(np.float32))
    return graph.node("MatMul", [adapted, columns], f"{branch}_entered")


def _adapted(graph: Graph, adaptor: HybridExperts, vectors: str, branch: Branch) -> str:
    """The adaptor's nodes: vectors [n, vector] -> [n, out]; n may be 0.

    The first layers of all experts run as one wide product. The second ones are apart: as one batched product
    between two transpositions, ONNX Runtime 1.31 divides by zero where there is no candidate.
    """
    both: list[Any] = [adaptor.shared, adaptor.own[branch]]
    gate: Any = adaptor.gate[branch]
    count = adaptor.shape.shared + adaptor.shape.dedicated

    def hold(name: str, value: torch.Tensor) -> str:
        return graph.constant(f"{branch}_{name}", value.detach().contiguous().numpy())

    def node(operator: str, inputs: list[str], name: str, **attributes: int) -> str:
        return graph.node(operator, inputs, f"{branch}_{name}", **attributes)

    def split(value: str, name: str, width: int) -> list[str]:
        sizes = hold(f"{name}_sizes", torch.full((count,), width, dtype=torch.int64))
        return graph.split(value, sizes, [f"{branch}_{name}_{expert}" for expert in range(count)])

    first = hold("first", torch.cat([experts.first.weight for experts in both]).T)
    first_bias = hold("first_bias", torch.cat([experts.first.bias for experts in both]))
    inner = node("Relu", [node("Gemm", [vectors, first, first_bias], "wide")], "all_inner")
    opened = node("Gemm", [vectors, hold("gate", gate.weight.T), hold("gate_bias", gate.bias)], "opened")
    weights = node("Softmax", [opened], "weights", axis=1)

    second = torch.cat([experts.second_weight for experts in both])
    second_bias = torch.cat([experts.second_bias for experts in both])
    said = []
    pieces = zip(split(inner, "inner", adaptor.shape.hidden), split(weights, "weight", 1), strict=True)
    for expert, (mine, weight) in enumerate(pieces):
        layer = [hold(f"second_{expert}", second[expert]), hold(f"second_bias_{expert}", second_bias[expert, 0])]
        answer = node("Relu", [node("Gemm", [mine, *layer], f"narrow_{expert}")], f"answer_{expert}")
        said.append(node("Mul", [answer, weight], f"said_{expert}"))
    return node("Sum", said, "adapted")
