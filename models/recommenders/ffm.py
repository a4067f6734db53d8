"""Field-aware Factorization Machine (docs/method.md#other-networks; Juan et al., RecSys 2016).

    logit = w_0 + sum_i w_i + sum_{i<j} <e_i^(f_j), e_j^(f_i)>

Every row of field i has one embedding per other field: e_i^(f_j) is the one that meets field j.
"""

from torch import Tensor

from userip.models.recommenders.layers import FieldNetwork, LinearTerm, NetworkShape, pairs


class FFM(FieldNetwork):
    """The machine of `shape`, which has no deep part: `cross_layers`, `mlp` and `dropout` do nothing here."""

    def __init__(self, shape: NetworkShape) -> None:
        # F embeddings a row, the one that would meet its own field among them: unused, but it keeps the table plain.
        if shape.shared is not None:
            raise ValueError("an FFM has an embedding per pair of fields: they cannot share a slot")
        super().__init__(shape.field_sizes, shape.width)
        self.shape = shape
        self.linear = LinearTerm(shape.field_sizes)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F] -> logits float32 [B]."""
        fields = rows.shape[1]
        e = self.embed(rows).view(-1, fields, fields, self.shape.embedding)  # [B, of field, meets field, d]
        i, j = pairs(fields)
        logits: Tensor = self.linear(rows) + (e[:, i, j] * e[:, j, i]).sum(dim=(1, 2))
        return logits
