"""Users on a plane, as their quantizer sees them: the two principal axes of z in the codebook's metric."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from userip.bank.record import UNKNOWN_CODE
from userip.models.quantizers.codebook import Codebook
from userip.training.errors import DataError

CODEBOOKS = "codebooks.safetensors"


@dataclass(frozen=True)
class FacetMap:
    """A sample of users, each at (x, y) with its code.

    users      rows of z that were drawn, ascending
    explained  share of the variance of all users along x, and along y
    nearest    share of all users whose code is the one nearest to the z given (1 where codes were made from that z)
    """

    facet: str
    users: tuple[int, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    codes: tuple[int, ...]
    explained: tuple[float, float]
    nearest: float


def read_codebooks(directory: Path, facets: tuple[str, ...]) -> dict[str, Codebook]:
    """Facet -> its codebook and metric, from RUN/quantize. Raises DataError naming the file and what is missing."""
    file = directory / CODEBOOKS
    if not file.is_file():
        raise DataError(f"{file}: not found; run `userip quantize` first")
    tensors = load_file(file)
    for facet in facets:
        if not {f"{facet}.codes", f"{facet}.scale"} <= set(tensors):
            raise DataError(f"{file}: no codebook of the facet {facet!r}; run `userip quantize` again")
    return {facet: Codebook(tensors[f"{facet}.codes"], tensors[f"{facet}.scale"]) for facet in facets}


def code_map(
    z: Tensor, codes: NDArray[np.integer], codebooks: Mapping[str, Codebook], *, most: int = 2000, seed: int = 0
) -> tuple[FacetMap, ...]:
    """One map per facet of z float32 [U, J, m, d], with codes [U, J] (65535: unknown, left out).

    `codebooks` are those of the J facets, in their order. The axes are fitted to all users, at most `most` are placed;
    each axis points to where its longest loading is positive. Raises ValueError for shapes that do not fit.
    """
    if codes.shape != z.shape[:2] or len(codebooks) != z.shape[1]:
        raise ValueError(f"codes {list(codes.shape)}, {len(codebooks)} codebooks: for z {list(z.shape)}")
    made = []
    for j, (facet, book) in enumerate(codebooks.items()):
        known = np.flatnonzero(codes[:, j] != UNKNOWN_CODE)
        flat = z[torch.from_numpy(known), j].flatten(1).float()
        mine = codes[known, j].astype(np.int64)
        scaled = (flat @ book.scale.T).double().numpy()  # || A (z - e) ||: plain distances from here on
        mean = scaled.mean(axis=0) if len(known) else np.zeros(scaled.shape[1])
        axes, explained = _axes(scaled - mean)
        drawn = np.sort(np.random.default_rng([seed, 13, j]).permutation(len(known))[:most])
        place = (scaled[drawn] - mean) @ axes
        nearest = float((book.assign(flat).numpy() == mine).mean()) if len(known) else 0.0
        made.append(
            FacetMap(
                facet=facet,
                users=tuple(known[drawn].tolist()),
                x=tuple(place[:, 0].tolist()),
                y=tuple(place[:, 1].tolist()),
                codes=tuple(mine[drawn].tolist()),
                explained=explained,
                nearest=nearest,
            )
        )
    return tuple(made)


def _axes(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """The two principal axes of centred [n, r], as columns [r, 2], and their shares of the variance."""
    values, vectors = np.linalg.eigh(centred.T @ centred / max(len(centred), 1))
    if len(values) == 1:
        values, vectors = np.append(0.0, values), np.append(np.zeros((1, 1)), vectors, axis=1)
    axes = vectors[:, :-3:-1]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    total = max(float(values.sum()), 1e-300)
    return axes, (float(values[-1]) / total, float(values[-2]) / total)
