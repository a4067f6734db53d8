"""Networks of the library deepctr-torch, as networks of ours: the one place that imports it, and that lazily.

What it takes from the library is the network itself. Fitting, early stop and weight decay are those of
`training.recommender.fit`: the library's own L2 terms are added by its own `fit`, which is never called. So that the
comparison is one of interactions between fields and of nothing else, the parts that all networks share are alike:

start    embeddings as `models.recommenders.layers.FieldNetwork` starts them and linear layers as torch does. The
library's
         own N(0, 1e-4) for both leaves its deep parts without a gradient for epochs.
MLP      Linear -> BatchNorm -> ReLU -> Dropout, which the library offers for some of its networks only.
         For FiBiNET it is worth .008 of validation AUC on MovieTweetings.
ONN      is the exception in both: its products start as the library has them, N(0, 1e-4) times N(0, 1), and go into
         an MLP without BatchNorm, which would blow them up. That is worth .008 there.
seed     drawn from torch's generator. The library's constructors reset it, to 1024 if they are not told otherwise.

What differs from docs/method.md#other-networks: all but PNN have a linear term, and ONN has no copy of
the embeddings beside its products, which are element-wise.
"""

import importlib
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Final

import torch
from torch import Tensor, nn

from userip.models.recommenders.layers import Network, NetworkShape
from userip.training.errors import ConfigError

NO_BATCHNORM: Final = ("FiBiNET", "PNN")  # whose constructors do not offer it
MAX_ROWS: Final = 2**24  # the library looks up rows in float32, which counts no further without gaps


def library_network(name: str, settings: Callable[[NetworkShape], dict[str, Any]]) -> Network:
    """The network made by the library's class `name`, called with the `settings` that a shape gives."""
    return partial(LibraryNetwork, name, settings)


class LibraryNetwork(nn.Module):
    """A network of deepctr-torch that maps rows int64 [B, F] to logits float32 [B].

    Raises ConfigError where the library is missing, or where the shape is none that its networks can have.
    """

    def __init__(self, name: str, settings: Callable[[NetworkShape], dict[str, Any]], shape: NetworkShape) -> None:
        super().__init__()
        _refuse(name, shape)
        library = load_library()
        inputs = importlib.import_module("deepctr_torch.inputs")
        fields = [inputs.SparseFeat(f"field{i}", size, shape.embedding) for i, size in enumerate(shape.field_sizes)]
        columns = [fields] if name == "PNN" else [fields, fields]  # PNN has no linear term
        # "regression" leaves the sigmoid off. It is the network's last step otherwise.
        chosen = {"task": "regression", "seed": int(torch.randint(2**31, ()))} | settings(shape)
        self.network: Any = getattr(library.models, name)(*columns, **chosen)
        _restart(self, library, shape, batchnorm=name in NO_BATCHNORM)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F] -> logits float32 [B]."""
        if len(rows) == 1:  # DCNMix squeezes a batch of one away
            return self.forward(rows.expand(2, -1))[:1]
        logits: Tensor = self.network(rows.float()).squeeze(1)
        return logits


def load_library() -> ModuleType:
    """The module deepctr_torch, kept from the network. Raises ConfigError where it is not installed.

    Its import starts a thread that asks PyPI for newer versions. That thread is all there is in
    `deepctr_torch.utils`, so an empty stand-in takes the place of that module.
    """
    if "deepctr_torch" not in sys.modules:
        silent = ModuleType("deepctr_torch.utils")
        silent.check_version = lambda _: None  # type: ignore[attr-defined]
        sys.modules.setdefault(silent.__name__, silent)
    try:
        return importlib.import_module("deepctr_torch")
    except ModuleNotFoundError as error:
        raise ConfigError(f"network: this one needs {error.name}: pip install 'userip[baselines]'") from None


def _refuse(name: str, shape: NetworkShape) -> None:
    if len(shape.field_sizes) < 2:
        raise ConfigError(f"network: {name} pairs fields, and there is one only; keep the user field or add codes")
    if not shape.mlp:
        raise ConfigError(f"mlp: {name} needs at least one width")
    if max(shape.field_sizes) > MAX_ROWS:
        raise ConfigError(f"network: {name} takes at most {MAX_ROWS} rows a field, not {max(shape.field_sizes)}")


def _restart(model: LibraryNetwork, library: ModuleType, shape: NetworkShape, *, batchnorm: bool) -> None:
    """Give the parts that all networks share the form and the start that ours have."""
    network = model.network
    if batchnorm:
        width = network.dnn.linears[0].in_features
        network.dnn = library.layers.DNN(width, shape.mlp, dropout_rate=shape.dropout, use_bn=True)
    bound = (6 / (sum(shape.field_sizes) + shape.embedding)) ** 0.5  # Xavier, over all fields' tables as one
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    for name, weight in network.named_parameters():
        if name.startswith("linear_model."):
            nn.init.zeros_(weight)
        elif name.startswith("embedding_dict."):
            nn.init.uniform_(weight, -bound, bound)
