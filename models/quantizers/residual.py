"""Residual quantization of one facet: a profile is a sum of code vectors, one from each of L codebooks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from userip.models.quantizers.codebook import Codebook, FacetCodes, kmeans


class ResidualCodebook(FacetCodes):
    """L codebooks in one metric `scale` float32 [r, d]: level l quantizes what the levels before it leave."""

    def __init__(self, books: Sequence[Codebook]) -> None:
        super().__init__()
        self.books = torch.nn.ModuleList(books)
        self.straight_through = books[0].straight_through
        self.scale = books[0].scale

    def levels(self) -> list[Tensor]:
        """The vectors of each level."""
        return [book.codes.detach() for book in self._books()]

    def assign(self, z: Tensor) -> Tensor:
        """Level after level the nearest: int64 [N, L]."""
        found, left = [], z.detach()
        for book in self._books():
            found.append(book.assign(left))
            left = left - book.codes.detach()[found[-1]]
        return torch.stack(found, dim=1)

    def _books(self) -> list[Codebook]:
        return [book for book in self.books if isinstance(book, Codebook)]


def residual_kmeans(z: Tensor, sizes: Sequence[int], scale: Tensor, *, restarts: int, seed: int) -> ResidualCodebook:
    """k-means of z [N, d], then of what is left, level by level. No level makes the squared error larger."""
    books, left = [], z
    for level, size in enumerate(sizes):
        codes = kmeans(left, size, scale, restarts=restarts, seed=seed + 7919 * level)
        books.append(Codebook(codes, scale))
        left = left - codes[books[-1].assign(left)]
    return ResidualCodebook(books)
