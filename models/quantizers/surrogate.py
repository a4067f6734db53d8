"""The surrogate recommender of Eq. 5: a DCN that reads codes as vectors, so that clicks can teach the codebooks."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.layers import NetworkShape

DROPOUT: Final = 0.5  # as in the recommender that the codes are for


class Surrogate(nn.Module):
    """f_phi(v_i, e~_1 .. e~_J): x_0 = [E_v(i); P_1 e~_1; ..; P_J e~_J]  with P_j: R^D -> R^8 linear.

    There is no user row: it would absorb what the codes are to learn, and a folded-in user has none (see
    docs/method.md#surrogate).
    `forward` takes items int64 [n] (0 .. items - 1) and one quantized profile float [n, D] per facet: logits [n].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, items: int, means: Sequence[Tensor], stds: Sequence[Tensor], embedding: int = 8) -> None:
        super().__init__()
        self.items = items
        facets = len(means)
        # Only the item field has rows; the facets' parts of x_0 come from the projections.
        self.dcn = DCN(NetworkShape((items, *([1] * facets)), embedding=embedding, dropout=DROPOUT))
        self.project = nn.ModuleList(nn.Linear(len(mean), embedding) for mean in means)
        # Profiles are standardised first: soft tokens live on the scale of word embeddings.
        self.register_buffer("mean", torch.stack(list(means)))
        self.register_buffer("std", torch.stack(list(stds)))

    def forward(self, items: Tensor, profiles: Sequence[Tensor]) -> Tensor:
        """Logits float32 [n]."""
        parts = [self.dcn.embedding(items)]
        for j, (project, z) in enumerate(zip(self.project, profiles, strict=True)):
            parts.append(project((z - self.mean[j]) / self.std[j]))
        return self.dcn.forward_embedded(torch.cat(parts, dim=1))
