"""Product-based Neural Network with inner products (docs/method.md#other-networks; Qu et al., ICDM 2016).

logit = w_out . MLP([e_1; ..; e_F; <e_1, e_2>; <e_1, e_3>; ..; <e_F-1, e_F>]) + b_out
"""

import torch
from torch import Tensor, nn

from userip.models.recommenders.layers import FieldNetwork, NetworkShape, mlp, pairs


class PNN(FieldNetwork):
    """The network of `shape`, whose `cross_layers` it has no use for. One field: no product. No MLP: linear."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__(shape.field_sizes, shape.embedding, shape.shared)
        slots = shape.width // shape.embedding
        width = shape.width + slots * (slots - 1) // 2
        self.shape = shape
        self.mlp = mlp(width, shape.mlp, shape.dropout)
        self.head = nn.Linear(shape.mlp[-1] if shape.mlp else width, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F] -> logits float32 [B]."""
        flat = self.embed(rows)
        e = flat.view(-1, self.shape.width // self.shape.embedding, self.shape.embedding)  # [B, S, d]
        i, j = pairs(e.shape[1])
        products = (e[:, i] * e[:, j]).sum(dim=2)  # [B, S(S-1)/2]
        logits: Tensor = self.head(self.mlp(torch.cat([flat, products], dim=1))).squeeze(1)
        return logits
