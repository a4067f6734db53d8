"""Paths beside a network, on which profiles meet items, and calibration (docs/method.md#paths).

    logit = a (g * network(rows) + wide + dot) + b
    wide  = sum_f w_f[row_f]                                        a number per row of every field
    dot   = < sum_{f of the user} u_f[row_f], sum_{f of the item} v_f[row_f] >    vectors of `dot` numbers

Every number of a path starts somewhere (0 where nobody knows better) and weight decay draws it back there, not to 0:
that a code's vector is what its quantizer says, and an item's what the profile method found, is forgotten only for
a reason. g starts at 1, or at 0 where the paths start with something to say. (a, b) is fitted to validation rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from userip.models.recommenders.layers import Network, NetworkShape


@dataclass(frozen=True, slots=True)
class Paths:
    """Which paths there are, by positions of fields.

    wide        fields with a number per row; none: no such path
    user, item  fields whose vectors are added up on either side of the dot path
    dot         the length of these vectors; 0: no such path
    calibrated  whether the logits are calibrated
    """

    wide: tuple[int, ...] = ()
    user: tuple[int, ...] = ()
    item: tuple[int, ...] = ()
    dot: int = 0
    calibrated: bool = False

    def __bool__(self) -> bool:
        return bool(self.wide or self.dot or self.calibrated)


class StartedTable(nn.Module):
    """The rows of some fields, one field after the other: float32 [rows, width], where they start plus what is learnt.

    delta  parameter, from 0;   start  buffer, 0 until `set_start` says more
    """

    offsets: Tensor
    start: Tensor

    def __init__(self, field_sizes: Sequence[int], fields: Sequence[int], width: int) -> None:
        super().__init__()
        sizes = [field_sizes[field] for field in fields]
        self.fields = tuple(fields)
        self.sizes = tuple(sizes)
        self.delta = nn.Parameter(torch.zeros(sum(sizes), width))
        self.register_buffer("start", torch.zeros(sum(sizes), width))
        begins = list(accumulate(sizes, initial=0))[:-1]
        self.register_buffer("offsets", torch.tensor(begins, dtype=torch.int64), persistent=False)

    @property
    def weight(self) -> Tensor:
        """float32 [rows, width]."""
        return self.start + self.delta

    def set_start(self, field: int, values: Tensor) -> None:
        """Start the rows of the field at this position at `values` [size, width]."""
        place = self.fields.index(field)
        begin = int(self.offsets[place])
        self.start[begin : begin + self.sizes[place]] = values

    def forward(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F] of all fields -> the sum of those of its own: float32 [B, width]."""
        places = rows[:, self.fields] + self.offsets
        return nn.functional.embedding(places, self.weight).sum(dim=1)


class PathNetwork(nn.Module):
    """A network with paths beside it."""

    calibration: Tensor

    def __init__(self, network: nn.Module, shape: NetworkShape, paths: Paths) -> None:
        super().__init__()
        self.network, self.paths = network, paths
        self.started = False
        self.gate = nn.Parameter(torch.ones(()))
        self.wide = StartedTable(shape.field_sizes, paths.wide, 1) if paths.wide else None
        self.user = StartedTable(shape.field_sizes, paths.user, paths.dot) if paths.dot else None
        self.item = StartedTable(shape.field_sizes, paths.item, paths.dot) if paths.dot else None
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))

    def start_alone(self) -> None:
        """Let the paths say everything before the first step."""
        self.started = True
        nn.init.zeros_(self.gate)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F] -> logits float32 [B]."""
        logits: Tensor = self.gate * self.network(rows)
        if self.wide is not None:
            logits = logits + self.wide(rows).squeeze(1)
        if self.user is not None and self.item is not None:
            logits = logits + (self.user(rows) * self.item(rows)).sum(dim=1)
        return logits * self.calibration[0] + self.calibration[1]


def build(network: Network, shape: NetworkShape, paths: Paths) -> nn.Module:
    """The network, in a `PathNetwork` where there is any path."""
    made = network(shape)
    return PathNetwork(made, shape, paths) if paths else made
