"""DeepFM (docs/method.md#other-networks; Guo et al., IJCAI 2017): a factorization machine beside an MLP.

logit = w_0 + sum_i w_i + sum_{i<j} <e_i, e_j> + w_out . MLP([e_1; ..; e_F])
"""

from torch import Tensor, nn

from userip.models.recommenders.layers import FieldNetwork, LinearTerm, NetworkShape, mlp


class DeepFM(FieldNetwork):
    """The network of `shape`, whose `cross_layers` it has no use for. No MLP: a factorization machine."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__(shape.field_sizes, shape.embedding, shape.shared)
        self.shape = shape
        self.linear = LinearTerm(shape.field_sizes)
        self.mlp = mlp(shape.width, shape.mlp, shape.dropout)
        if shape.mlp:
            self.head = nn.Linear(shape.mlp[-1], 1, bias=False)  # w_0 is the bias

    def forward(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F] -> logits float32 [B]."""
        flat = self.embed(rows)
        e = flat.view(-1, self.shape.width // self.shape.embedding, self.shape.embedding)  # [B, S, d]
        # All pairs at once: ((sum e)^2 - sum e^2) / 2, per column
        products = (e.sum(dim=1).square() - e.square().sum(dim=1)).sum(dim=1) / 2
        logits: Tensor = self.linear(rows) + products
        if self.shape.mlp:
            logits = logits + self.head(self.mlp(flat)).squeeze(1)
        return logits
