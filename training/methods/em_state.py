"""Between an M step and the E step after it: codebooks, surrogate, and the settings of that E step."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from userip.files import beside
from userip.models.quantizers.codebook import Codebook
from userip.models.quantizers.surrogate import Surrogate


@dataclass(frozen=True, eq=False)
class EMState:
    """State between an M step and the E step after it.

    rec       weight of L_rec in that E step, balanced against L_LM
    figures   what the M step said: losses of the surrogate, codes revived, perplexities
    """

    codebooks: list[Codebook]
    surrogate: Surrogate | None
    rec: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)

    def assign(self, z: Tensor) -> Tensor:
        """Codes of z [n, J, m, d]: int64 [n, J]."""
        flat = z.flatten(2)
        return torch.stack([book.assign(flat[:, j]) for j, book in enumerate(self.codebooks)], dim=1)

    def save(self, file: Path) -> None:
        """Write as safetensors, beside and then renamed."""
        tensors: dict[str, Tensor] = {}
        for j, book in enumerate(self.codebooks):
            tensors[f"codebook.{j}.codes"] = book.codes.detach()
            tensors[f"codebook.{j}.scale"] = book.scale
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
    def load(cls, file: Path) -> "EMState":
        """Read what `save` wrote."""
        with safe_open(file, framework="pt") as opened:
            meta = json.loads(opened.metadata()["state"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (no mapping)
        codebooks = [
            Codebook(tensors[f"codebook.{j}.codes"], tensors[f"codebook.{j}.scale"], kind)
            for j, kind in enumerate(meta["straight_through"])
        ]
        surrogate = None
        if meta["items"]:
            weights = {k.removeprefix("surrogate."): v for k, v in tensors.items() if k.startswith("surrogate.")}
            surrogate = Surrogate(meta["items"], list(weights["mean"]), list(weights["std"]))
            surrogate.load_state_dict(weights)
        return cls(codebooks, surrogate, meta["rec"], meta["figures"])
