"""Deep & Cross Network on categorical fields (Eq. 8; docs/method.md#recommender).

    x_0     = [e_1; ..; e_F]                          one embedding of width d per field
    x_{l+1} = x_0 * (x_l . w_l) + b_l + x_l           l = 0 .. L-1
    h       = MLP(x_0)                                Linear -> BatchNorm -> ReLU -> Dropout, per width
    logit   = w_out . [x_L; h] + b_out

Row 0 of every field means unknown. Embeddings start Xavier-uniform over the one concatenated table.
"""

import torch
from torch import Tensor, nn

from userip.models.recommenders.layers import FieldNetwork, NetworkShape, mlp


class DCN(FieldNetwork):
    """The network. `forward` takes rows of the fields, `forward_embedded` takes x_0 itself."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__(shape.field_sizes, shape.embedding, shape.shared)
        self.shape = shape
        width = shape.width
        bound = width**-0.5
        self.cross_weight = nn.Parameter(torch.empty(shape.cross_layers, width).uniform_(-bound, bound))
        self.cross_bias = nn.Parameter(torch.zeros(shape.cross_layers, width))
        self.mlp = mlp(width, shape.mlp, shape.dropout)
        self.head = nn.Linear(width + (shape.mlp[-1] if shape.mlp else 0), 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F] -> logits float32 [B]."""
        return self.forward_embedded(self.embed(rows))

    def forward_embedded(self, x0: Tensor) -> Tensor:
        """x_0 float32 [B, F*d] -> logits float32 [B]; some fields may be dense vectors instead of rows."""
        x = x0
        for weight, bias in zip(self.cross_weight.unbind(), self.cross_bias.unbind(), strict=True):
            x = torch.addcmul(x + bias, x0, (x @ weight).unsqueeze(1))
        if self.shape.mlp:
            x = torch.cat([x, self.mlp(x0)], dim=1)
        logits: Tensor = self.head(x).squeeze(1)
        return logits
