"""What the networks over categorical fields share: the embedding table, the linear term and the deep layers.

Row 0 of every field means unknown. Embeddings start Xavier-uniform over the one concatenated table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The sizes that make a network. `field_sizes` count row 0; `mlp` may be empty, `cross_layers` may be 0.

    A network without cross layers or without an MLP has no use for theirs.

    shared  fields from, to: their embeddings are added up and take one slot of x_0, as the codes of a user may, whose
            vectors add up as well. None: every field has a slot of its own
    """

    field_sizes: tuple[int, ...]
    embedding: int = 8
    cross_layers: int = 3
    mlp: tuple[int, ...] = (16, 16)
    dropout: float = 0.2
    shared: tuple[int, int] | None = None

    @property
    def slots(self) -> tuple[int, ...]:
        """The slot of x_0 that each field is in."""
        fields = range(len(self.field_sizes))
        if self.shared is None:
            return tuple(fields)
        first, end = self.shared
        return tuple(
            field if field < first else first if field < end else field - (end - first) + 1 for field in fields
        )

    @property
    def width(self) -> int:
        """Length of x_0, all slots side by side: slots times embedding width."""
        return len(set(self.slots)) * self.embedding


# What a network is made by: from the sizes of the fields to rows int64 [B, F] -> logits float32 [B]
Network = Callable[[NetworkShape], nn.Module]


class FieldNetwork(nn.Module):
    """A network over fields: one table of `width` columns holds the rows of all fields, one after the other."""

    offsets: Tensor

    def __init__(self, field_sizes: Sequence[int], width: int, shared: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.shared = shared
        if not field_sizes or min(field_sizes) < 1:
            raise ValueError(
                f"a {type(self).__name__} needs at least one field of at least one row, got {tuple(field_sizes)}"
            )
        # One table for all fields: one gather forwards, one scatter backwards, one optimiser step.
        self.embedding = nn.Embedding(sum(field_sizes), width)
        nn.init.xavier_uniform_(self.embedding.weight)
        starts = list(accumulate(field_sizes, initial=0))[:-1]
        self.register_buffer("offsets", torch.tensor(starts, dtype=torch.int64), persistent=False)

    def embed(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F] -> the slots' embeddings side by side, float32 [B, S*width]."""
        e = nn.functional.embedding(rows + self.offsets, self.embedding.weight)
        if self.shared is not None:
            first, end = self.shared
            e = torch.cat([e[:, :first], e[:, first:end].sum(dim=1, keepdim=True), e[:, end:]], dim=1)
        return e.flatten(1)


class LinearTerm(FieldNetwork):
    """lin = w_0 + sum_i w_i: one weight per row of each field, which starts at 0."""

    def __init__(self, field_sizes: Sequence[int]) -> None:
        super().__init__(field_sizes, 1)
        nn.init.zeros_(self.embedding.weight)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F] -> float32 [B]."""
        return self.embed(rows).sum(dim=1) + self.bias


def mlp(width: int, widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear -> BatchNorm -> ReLU -> Dropout per width: [B, width] -> [B, widths[-1]]. No widths: the identity."""
    layers: list[nn.Module] = []
    for before, after in zip((width, *widths), widths, strict=False):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


def pairs(fields: int) -> tuple[list[int], list[int]]:
    """The places i and j of every pair of fields i < j, in the order (0, 1), (0, 2), .., (1, 2), .."""
    both = list(combinations(range(fields), 2))
    return [i for i, _ in both], [j for _, j in both]
