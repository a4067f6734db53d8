"""Deep & Cross Network, version 2, in its parallel form (docs/method.md#other-networks; Wang et al., WWW 2021).

    x_{l+1} = x_0 * (W_l x_l + b_l) + x_l             l = 0 .. L-1
    logit   = w_out . [x_L; MLP(x_0)] + b_out

x_0 = [e_1; ..; e_F] as in the DCN; W_l is a full matrix, where the DCN has one vector per layer.
"""

import torch
from torch import Tensor, nn

from userip.models.recommenders.layers import FieldNetwork, NetworkShape, mlp


class DCNv2(FieldNetwork):
    """The network of `shape`: `cross_layers` matrices beside the MLP; either may be absent."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__(shape.field_sizes, shape.embedding, shape.shared)
        self.cross = nn.ModuleList(nn.Linear(shape.width, shape.width) for _ in range(shape.cross_layers))
        self.mlp = mlp(shape.width, shape.mlp, shape.dropout)
        self.head = nn.Linear(shape.width + (shape.mlp[-1] if shape.mlp else 0), 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F] -> logits float32 [B]."""
        x = x0 = self.embed(rows)
        for layer in self.cross:
            x = torch.addcmul(x, x0, layer(x))
        if len(self.mlp):
            x = torch.cat([x, self.mlp(x0)], dim=1)
        logits: Tensor = self.head(x).squeeze(1)
        return logits
