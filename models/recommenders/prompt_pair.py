"""User and item as two continuous prompt vectors whose product is the click (docs/method.md#other-baselines)."""

import torch
from torch import Tensor, nn


class PromptPair(nn.Module):
    """Two tables of prompt vectors, as wide as a language model's embeddings, with a bias per row.

    Rows int64 [B, 2] hold user and item; row 0 of both is the unknown one. It is never trained: `settle_unknown`
    makes it the mean of the others.
    """

    def __init__(self, users: int, items: int, width: int, reach: float, dropout: float) -> None:
        super().__init__()
        self.vectors = nn.ModuleList(nn.Embedding(size, width) for size in (users, items))
        self.biases = nn.ModuleList(nn.Embedding(size, 1) for size in (users, items))
        self.bias = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(dropout)
        for table in self.vectors:
            nn.init.uniform_(table.weight, -reach, reach)  # type: ignore[arg-type]
        for table in self.biases:
            nn.init.zeros_(table.weight)  # type: ignore[arg-type]

    def prompts(self, rows: Tensor) -> Tensor:
        """Prompt vectors float32 [B, 2, d] of rows [B, 2]: user, then item."""
        return torch.stack([table(rows[:, place]) for place, table in enumerate(self.vectors)], dim=1)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits float32 [B]:  <u, i> + b_u + b_i + b."""
        user, item = self.dropout(self.prompts(rows)).unbind(dim=1)
        shift = torch.cat([table(rows[:, [place]])[:, 0] for place, table in enumerate(self.biases)], dim=1)
        logits: Tensor = (user * item).sum(dim=1) + shift.sum(dim=1) + self.bias
        return logits

    @torch.no_grad()
    def settle_unknown(self) -> None:
        """Put the mean of the known rows into row 0."""
        for table in (*self.vectors, *self.biases):
            weight: Tensor = table.weight
            weight[0] = weight[1:].mean(dim=0)
