"""What a recommender may start from: RUN/quantize/starts.safetensors.

A method that tells clicks by  logit = bias_i + sum_j z_j . V_ji  (`training.methods.starts`), with z_j the sum of its
codes' vectors, says where the paths of a recommender stand before the first step: an item's number is its bias and a
code's is what it adds to every item; where V_j differs between items, code and item have vectors whose product it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from userip.training.methods.em_state import EMState
from userip.training.methods.protocol import Facet
from userip.training.methods.starts import ItemStarts

FILE: Final = "starts.safetensors"
ITEMS: Final = "items.parquet"


@dataclass(frozen=True, eq=False)
class Starts:
    """Numbers and vectors of items, in the order of `items`, and of codes.

    bias float32 [I], vectors float32 [I, dot]
    numbers: code -> float32 [K], code_vectors: code -> float32 [K, dot]
    """

    items: pl.Series
    bias: Tensor
    vectors: Tensor
    numbers: Mapping[str, Tensor]
    code_vectors: Mapping[str, Tensor]

    @property
    def dot(self) -> int:
        """Length of the vectors."""
        return self.vectors.shape[1]

    @property
    def of_items(self) -> "Starts":
        """Those of items alone: for codes that say something else than the method's."""
        return replace(self, numbers={}, code_vectors={})

    def write(self, directory: Path) -> None:
        """Write both files."""
        tensors = {"bias": self.bias, "vectors": self.vectors}
        tensors |= {f"number.{name}": value for name, value in self.numbers.items()}
        tensors |= {f"vector.{name}": value for name, value in self.code_vectors.items()}
        save_file({name: value.contiguous() for name, value in tensors.items()}, directory / FILE)
        self.items.to_frame("item_id").write_parquet(directory / ITEMS)

    @classmethod
    def read(cls, directory: Path) -> "Starts | None":
        """None where there are none."""
        if not (directory / FILE).is_file():
            return None
        tensors = load_file(directory / FILE)

        def under(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        items = pl.read_parquet(directory / ITEMS)["item_id"]
        return cls(items, tensors["bias"], tensors["vectors"], under("number."), under("vector."))


def starts_of(
    known: ItemStarts, facets: Sequence[Facet], state: EMState, codes: Sequence[Facet], items: pl.Series
) -> Starts:
    """Starts of codes, in the order of `codes`, from those of their facets."""
    dot = [facet.name for facet in facets if known.facets[facet.name].ndim == 2]
    widths = {name: known.facets[name].shape[1] for name in dot}
    vectors = torch.cat([torch.zeros(len(known.bias), 0), *(known.facets[name] for name in dot)], dim=1)
    numbers, code_vectors, names = {}, {}, iter(code.name for code in codes)
    for facet, book in zip(facets, state.codebooks, strict=True):
        says = known.facets[facet.name]
        for level in book.levels():
            code = next(names)
            numbers[code] = level @ says if says.ndim == 1 else torch.zeros(len(level))
            blocks = [level if name == facet.name else torch.zeros(len(level), widths[name]) for name in dot]
            code_vectors[code] = torch.cat([torch.zeros(len(level), 0), *blocks], dim=1)
    return Starts(items, known.bias, vectors, numbers, code_vectors)
