"""A language model in training, on disk: killed, it goes on from its last checkpoint and ends with the same bytes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from userip.files import beside

EVERY = 50  # steps, some ten seconds


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights, optimiser and random state after `step` steps, in one safetensors file. `file` None: never saved."""

    file: Path | None
    model: nn.Module
    optimiser: torch.optim.Optimizer
    draw: np.random.Generator

    def save(self, losses: list[float]) -> None:
        """Write beside, then rename; at every `EVERY`-th step only."""
        if self.file is None or len(losses) % EVERY:
            return
        tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in self.model.named_parameters()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        said = {"losses": losses, "draw": self.draw.bit_generator.state}
        whole = {name: value.detach().contiguous() for name, value in tensors.items()}
        with beside(self.file) as partial:
            save_file(whole, partial, metadata={"state": json.dumps(said)})

    def restore(self) -> list[float]:
        """Put everything back, if there is a file. Returns the losses of the steps that are done."""
        if self.file is None or not self.file.is_file():
            return []
        with safe_open(self.file, framework="pt") as opened:
            said: dict[str, Any] = json.loads(opened.metadata()["state"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (no mapping)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(tensors[f"model.{name}"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.draw.bit_generator.state = said["draw"]
        return list(said["losses"])
