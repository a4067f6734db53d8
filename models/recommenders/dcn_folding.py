"""Fold a fitted DCN into one short row per id, exactly.

With x_0 = [e_1; ..; e_F], every cross layer is x_l = a_l x_0 + c_l, where a_l is a scalar of the example and
c_l a constant of the model: by induction x_{l+1} = x_0 (x_l.w_l) + b_l + x_l gives

    a_0 = 1      a_{l+1} = a_l (1 + x_0.w_l) + c_l.w_l
    c_0 = 0      c_{l+1} = c_l + b_l

So the example enters through x_0.w_0 .. x_0.w_{L-1}, x_0.w_out and W_1 x_0 only, and each of these is a sum
over the fields of a value per id. That sum is what a folded row holds:

    [1 + x_0.w_0 | .. | 1 + x_0.w_{L-1} | x_0.w_out | W_1 x_0 + b_1]

The ones and b_1 stand in the item rows, of which every candidate has exactly one. BatchNorm, linear when
serving, is folded into the Linear before it. All is computed in float64 and stored as float32.

Paths beside the network (`models.recommenders.paths`) add to that:

    [.. | wide]   one more column of the sum; and, apart from it, a vector [dot] per item and per request row, whose
                  product is the dot path
Gate and calibration scale what they scale in the constants: they cost nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from userip.models.graphs.graph import FieldRoles, Float32, Rows
from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.paths import PathNetwork, StartedTable

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FoldedDCN:
    """The folded network: row width W = cross layers + 1 + first MLP width (0 without an MLP) + 1 with a wide path.

    items       float32 [n_items, W], row 0 = unknown
    request     float32 [sum of request tables, W + dot]: user, slots and context tables one after the other; the
                vectors of the dot path are their last columns
    vectors     float32 [n_items, dot]: the items' side of the dot path, or None
    wide        whether the last of the W columns is that of a wide path
    sizes       how many rows each request table has
    constants   c_l.w_l for l = 0 .. L-1
    dense       the MLP after its first layer: (weight [in, out], bias [out]) per further layer
    head        weight [last width] of the MLP part, empty without an MLP
    bias        b_out + c_L.w_out
    """

    items: Float32
    request: Float32
    sizes: tuple[int, ...]
    constants: tuple[float, ...]
    dense: tuple[tuple[Float32, Float32], ...]
    head: Float32
    bias: float
    wide: bool = False
    vectors: Float32 | None = None

    @property
    def cross_layers(self) -> int:
        """L, the number of cross layers."""
        return len(self.constants)


def fold(model: DCN | PathNetwork, roles: FieldRoles, catalogue: Rows) -> FoldedDCN:
    """Fold `model` as it is in evaluation (running statistics of BatchNorm, no dropout).

    catalogue  int64 [n_items, 1 + len(roles.categories)]: for every item row of the graph, the rows of its id
               and of its categories in the model's tables; line 0 is the unknown item, all 0.

    Raises ValueError when the roles do not name every field once, or the catalogue does not fit them.
    """
    if isinstance(model, PathNetwork):
        assert isinstance(model.network, DCN)
        return _with_paths(fold(model.network, roles, catalogue), model, roles, catalogue)
    fields = (roles.item, *roles.categories)
    if sorted((*fields, *roles.request)) != list(range(len(model.shape.field_sizes))):
        raise ValueError(f"{roles} must name each of the {len(model.shape.field_sizes)} fields once")
    if catalogue.ndim != 2 or catalogue.shape[1] != len(fields) or not len(catalogue):
        raise ValueError(f"catalogue has shape {catalogue.shape}, expected [items, {len(fields)}]")

    layers = _linear_layers(model.mlp)
    width = model.shape.width
    cross, steps = _array(model.cross_weight), _array(model.cross_bias)
    head = _array(model.head.weight)[0]
    shifts = np.vstack([np.zeros((1, width)), np.cumsum(steps, axis=0)])  # c_0 .. c_L

    start = np.concatenate([np.ones(len(cross)), np.zeros(1), *([layers[0][1]] if layers else [])])
    tables = _tables(model, folded_columns(model))

    items = start + sum(tables[f][catalogue[:, i]] for i, f in enumerate(fields))
    request = [tables[f] for f in roles.request]
    return FoldedDCN(
        items=items.astype(np.float32),
        request=np.concatenate([np.zeros((0, len(start))), *request]).astype(np.float32),
        sizes=tuple(len(table) for table in request),
        constants=tuple(float(c @ w) for c, w in zip(shifts[:-1], cross, strict=True)),
        dense=tuple((w.T.astype(np.float32), b.astype(np.float32)) for w, b in layers[1:]),
        head=head[width:].astype(np.float32),
        bias=float(_array(model.head.bias)[0] + shifts[-1] @ head[:width]),
    )


def _with_paths(folded: FoldedDCN, model: PathNetwork, roles: FieldRoles, catalogue: Rows) -> FoldedDCN:
    """The same with the paths of `model`, its gate and its calibration."""
    network = model.network
    assert isinstance(network, DCN)
    sizes, fields, out = network.shape.field_sizes, (roles.item, *roles.categories), folded.cross_layers
    scale, shift = model.calibration.tolist()
    gate = scale * model.gate.item()

    def of_items(tables: Sequence[Float64]) -> Float64:
        return np.asarray(sum(tables[f][catalogue[:, i]] for i, f in enumerate(fields)))

    def of_requests(tables: Sequence[Float64]) -> Float64:
        return np.concatenate([tables[0][:0], *(tables[f] for f in roles.request)])

    items, request = folded.items.astype(np.float64), folded.request.astype(np.float64)
    items[:, out] *= gate
    request[:, out] *= gate
    if model.wide is not None:
        wide = _path_tables(model.wide, sizes, scale)
        items = np.concatenate([items, of_items(wide)], axis=1)
        request = np.concatenate([request, of_requests(wide)], axis=1)
    vectors = None
    if model.user is not None and model.item is not None:
        vectors = of_items(_path_tables(model.item, sizes, 1.0)).astype(np.float32)
        request = np.concatenate([request, of_requests(_path_tables(model.user, sizes, scale))], axis=1)
    return replace(
        folded,
        items=items.astype(np.float32),
        request=request.astype(np.float32),
        head=(gate * folded.head.astype(np.float64)).astype(np.float32),
        bias=float(gate * folded.bias + shift),
        wide=model.wide is not None,
        vectors=vectors,
    )


def _path_tables(table: StartedTable, field_sizes: Sequence[int], scale: float) -> list[Float64]:
    """Per field of the network its [size, width] rows of a path, zeros for a field that is not on it."""
    weight = scale * _array(table.weight)
    own = dict(zip(table.fields, np.split(weight, np.cumsum(table.sizes)[:-1]), strict=True))
    return [own.get(field, np.zeros((size, weight.shape[1]))) for field, size in enumerate(field_sizes)]


def folded_columns(model: DCN) -> Float64:
    """What turns x_0 [width] into a folded row, but for its constants: float64 [W, width]."""
    columns = [*_array(model.cross_weight), _array(model.head.weight)[0, : model.shape.width]]
    if layers := _linear_layers(model.mlp):
        columns += list(layers[0][0])
    return np.stack(columns)


def _tables(model: DCN, columns: Float64) -> list[Float64]:
    """Per field its [size, W] table: embeddings times the field's part of the columns [W, F*d]."""
    embedding = _array(model.embedding.weight)
    edges = np.cumsum([0, *model.shape.field_sizes])
    d = model.shape.embedding
    parts = [columns[:, slot * d : (slot + 1) * d].T for slot in model.shape.slots]
    return [embedding[low:high] @ part for part, (low, high) in zip(parts, pairwise(edges), strict=True)]


def _linear_layers(mlp: nn.Sequential) -> Sequence[tuple[Float64, Float64]]:
    """The (weight [out, in], bias [out]) of each Linear with the BatchNorm behind it folded in."""
    layers = []
    for linear, norm in pairwise(mlp):
        if not isinstance(linear, nn.Linear) or not isinstance(norm, nn.BatchNorm1d):
            continue
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
        bias = (_array(linear.bias) - _array(norm.running_mean)) * scale + _array(norm.bias)
        layers.append((_array(linear.weight) * scale[:, None], bias))
    return layers


def _array(tensor: Tensor) -> Float64:
    return tensor.detach().cpu().double().numpy()
