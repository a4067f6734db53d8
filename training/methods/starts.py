"""What a method knows of items: RUN/infer/starts.safetensors.

It holds for a method that tells clicks by  logit = bias_i + sum_j z_j . V_ji , j over its facets. A recommender may
start there. A method that writes no such file leaves it to find everything itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from userip.files import beside

if TYPE_CHECKING:
    from torch import Tensor

FILE: Final = "starts.safetensors"


@dataclass(frozen=True, eq=False)
class ItemStarts:
    """bias float32 [I]: logits of a stranger.  facets: name -> V float32 [I, m*d], or [m*d] where it is one for all."""

    bias: "Tensor"
    facets: "Mapping[str, Tensor]"

    def write(self, directory: Path) -> None:
        """Write beside and rename."""
        from safetensors.torch import save_file

        tensors = {"bias": self.bias} | {f"facet.{name}": value for name, value in self.facets.items()}
        with beside(directory / FILE) as partial:
            save_file({name: value.contiguous() for name, value in tensors.items()}, partial)

    @classmethod
    def read(cls, directory: Path) -> "ItemStarts | None":
        """None where the method wrote none."""
        from safetensors.torch import load_file

        if not (directory / FILE).is_file():
            return None
        tensors = load_file(directory / FILE)
        facets = {name.removeprefix("facet."): value for name, value in tensors.items() if name != "bias"}
        return cls(tensors["bias"], facets)
