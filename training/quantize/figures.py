"""What a fit of codebooks says of itself."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from userip.models.quantizers.codebook import FacetCodes
from userip.training.quantize.codebook_usage import perplexity


def figures_of(codebooks: Sequence[FacetCodes], z: Tensor, losses: list[float], revived: list[int]) -> dict[str, Any]:
    """What an M step says of itself, for quantize.json: one entry per code, of z [n, J, D]; losses in nats."""
    books = []
    for j, book in enumerate(codebooks):
        left = z[:, j]
        for level, codes in zip(book.levels(), book.assign(z[:, j]).reshape(len(z), -1).T, strict=True):
            share = torch.bincount(codes, minlength=len(level)).double() / max(len(codes), 1)
            left = left - level[codes]
            distortion = float((left @ book.scale.T).square().sum(1).mean())
            books.append({"perplexity": round(perplexity(share.numpy()), 4), "distortion": round(distortion, 6)})
    return {"codebooks": books, "surrogate_loss": [round(loss, 5) for loss in losses], "revived": revived}
