"""A DCN that reads texts: KAR's hybrid-expert adaptor beside the fields' embeddings (docs/method.md#kar-baseline).

    expert(x)   = relu(W_2 relu(W_1 x + b_1) + b_2)          vector -> hidden -> out
    gate_t(x)   = softmax(G_t x + g_t)                       over the shared and the branch's own experts
    a_t         = sum_e gate_t,e(x_t) expert_e(x_t)          t in {user, item}
    x_0         = [e_1; ..; e_F; a_user; a_item]             then the DCN of `models.recommenders.dcn`

The branches share experts but no input: a_user depends on the user's vector alone, a_item on the item's. So
both can be computed once per user and item and stored, exactly.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.layers import NetworkShape

Branch = Literal["user", "item"]


@dataclass(frozen=True, slots=True)
class AdaptorShape:
    """`vector` is the width of the text vectors, `out` that of a_user and a_item; experts are counted."""

    vector: int = 384
    shared: int = 2
    dedicated: int = 5
    hidden: int = 128
    out: int = 32


@dataclass(frozen=True, slots=True)
class KarShape(NetworkShape):
    """The sizes of a DCN with an adaptor; `field_sizes` are those of the categorical fields alone."""

    adaptor: AdaptorShape = AdaptorShape()

    @property
    def width(self) -> int:
        """Length of x_0: the fields' embeddings, a_user and a_item."""
        return len(self.field_sizes) * self.embedding + 2 * self.adaptor.out


class Experts(nn.Module):
    """`count` experts side by side: one wide layer, then one narrow layer each."""

    def __init__(self, count: int, shape: AdaptorShape) -> None:
        super().__init__()
        self.first = nn.Linear(shape.vector, count * shape.hidden)
        bound = shape.hidden**-0.5
        self.second_weight = nn.Parameter(torch.empty(count, shape.hidden, shape.out).uniform_(-bound, bound))
        self.second_bias = nn.Parameter(torch.empty(count, 1, shape.out).uniform_(-bound, bound))

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors float32 [B, vector] -> what each expert says, float32 [count, B, out]."""
        count, hidden, _ = self.second_weight.shape
        inner = torch.relu(self.first(vectors)).view(len(vectors), count, hidden).transpose(0, 1)
        return torch.relu(torch.baddbmm(self.second_bias, inner, self.second_weight))


class HybridExperts(nn.Module):
    """The adaptor: shared experts, those of each branch, and a gate per branch."""

    def __init__(self, shape: AdaptorShape) -> None:
        super().__init__()
        if min(shape.vector, shape.shared, shape.dedicated, shape.hidden, shape.out) < 1:
            raise ValueError(f"every size of an adaptor is at least 1, got {shape}")
        self.shape = shape
        self.shared = Experts(shape.shared, shape)
        self.own = nn.ModuleDict({branch: Experts(shape.dedicated, shape) for branch in ("user", "item")})
        experts = shape.shared + shape.dedicated
        self.gate = nn.ModuleDict({branch: nn.Linear(shape.vector, experts) for branch in ("user", "item")})

    def forward(self, vectors: Tensor, branch: Branch) -> Tensor:
        """Vectors float32 [B, vector] of users or items -> a_user or a_item, float32 [B, out]."""
        weights = torch.softmax(self.gate[branch](vectors), dim=1).T.unsqueeze(2)
        said = torch.cat([self.shared(vectors), self.own[branch](vectors)])
        return (weights * said).sum(0)


class KarDCN(DCN):
    """The network over rows int64 [B, F + 2]: the fields, then the rows of the user's and the item's vector.

    users  float32 [U, vector] and items float32 [I, vector], row 0 = no text. They are not trained, and not
           part of the weights.
    """

    user_vectors: Tensor
    item_vectors: Tensor
    shape: KarShape

    def __init__(self, shape: KarShape, users: Tensor, items: Tensor) -> None:
        super().__init__(shape)
        for name, table in (("users", users), ("items", items)):
            if table.ndim != 2 or table.shape[1] != shape.adaptor.vector or not len(table):
                raise ValueError(f"{name} has shape {tuple(table.shape)}, expected [n, {shape.adaptor.vector}]")
        self.adaptor = HybridExperts(shape.adaptor)
        self.register_buffer("user_vectors", users, persistent=False)
        self.register_buffer("item_vectors", items, persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F + 2] -> logits float32 [B]."""
        fields = len(self.shape.field_sizes)
        if rows.shape[1] != fields + 2:
            raise ValueError(f"rows have {rows.shape[1]} columns, expected {fields} fields and 2 rows of vectors")
        parts = [self.embed(rows[:, :fields]), self._adapted(rows[:, -2], "user"), self._adapted(rows[:, -1], "item")]
        return self.forward_embedded(torch.cat(parts, dim=1))

    def _adapted(self, rows: Tensor, branch: Branch) -> Tensor:
        """a_user or a_item of table rows int64 [B]: [B, out]. A row that stands there twice is adapted once."""
        table = self.user_vectors if branch == "user" else self.item_vectors
        each, places = torch.unique(rows, return_inverse=True)
        adapted: Tensor = self.adaptor(table[each], branch)
        return adapted[places]
