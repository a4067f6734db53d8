"""Between an M step and the E step after it: codebooks, surrogate, and the settings of that E step."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from userip.files import beside
from userip.models.quantizers.codebook import Codebook, FacetCodes
from userip.models.quantizers.surrogate import Surrogate


@dataclass(frozen=True, eq=False)
class EMState:
    """State between an M step and the E step after it.

    rec       weight of L_rec in that E step, balanced against L_LM
    figures   what the M step said: losses of the surrogate, codes revived, perplexities
    """

    codebooks: Sequence[FacetCodes]
    surrogate: Surrogate | None
    rec: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)

    def assign(self, z: Tensor) -> Tensor:
        """Codes of z [n, J, m, d], facet by facet: int64 [n, C]."""
        flat = z.flatten(2)
        found = [book.assign(flat[:, j]).reshape(len(flat), -1) for j, book in enumerate(self.codebooks)]
        return torch.cat(found, dim=1)

    @property
    def flat(self) -> list[Codebook]:
        """The codebooks as those of one code per facet, which alone profiles can be moved towards."""
        return [book for book in self.codebooks if isinstance(book, Codebook)]

    def save(self, file: Path) -> None:
        """Write as safetensors, beside and then renamed."""
        tensors: dict[str, Tensor] = {}
        for j, book in enumerate(self.codebooks):
            tensors |= {f"codebook.{j}.{name}": value for name, value in book.state_dict().items()}
        if self.surrogate is not None:
            tensors |= {f"surrogate.{name}": value for name, value in self.surrogate.state_dict().items()}
        meta = {
            "rec": self.rec,
            "figures": self.figures,
            "straight_through": [book.straight_through for book in self.codebooks],
            "items": self.surrogate.items if self.surrogate is not None else 0,
        }
        whole = {name: value.contiguous() for name, value in tensors.items()}
        with beside(file) as partial:
            save_file(whole, partial, metadata={"state": json.dumps(meta)})

    @classmethod
    def load(cls, file: Path, book: "OpenCodes") -> "EMState":
        """Read what `save` wrote; `book` makes a facet's codebook of its tensors."""
        with safe_open(file, framework="pt") as opened:
            meta = json.loads(opened.metadata()["state"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (no mapping)
        codebooks = [book(_under(f"codebook.{j}.", tensors), kind) for j, kind in enumerate(meta["straight_through"])]
        surrogate = None
        if meta["items"]:
            weights = _under("surrogate.", tensors)
            surrogate = Surrogate(meta["items"], list(weights["mean"]), list(weights["std"]))
            surrogate.load_state_dict(weights)
        return cls(codebooks, surrogate, meta["rec"], meta["figures"])


OpenCodes = Callable[[Mapping[str, Tensor], str], FacetCodes]  # (state_dict, straight_through) -> a facet's codebook


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
