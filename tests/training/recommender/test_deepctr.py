"""The library's networks behind our seam: it asks nobody, starts them like ours, and has the same formulas."""

import re
import subprocess
import sys
from itertools import accumulate

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.margins import Auc
from tests.training.recommender.cross_checks import CROSS_CHECKS
from tests.training.toy import FIELDS, ceiling, toy_dataset
from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.dcnv2 import DCNv2
from userip.models.recommenders.deepfm import DeepFM
from userip.models.recommenders.layers import Network, NetworkShape
from userip.models.recommenders.pnn import PNN
from userip.training.errors import ConfigError
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.deepctr import MAX_ROWS, LibraryNetwork, load_library
from userip.training.recommender.fit import fit_recommender
from userip.training.recommender.networks import NETWORKS

SHAPE = NetworkShape((7, 5, 3), embedding=4, cross_layers=3, mlp=(8, 6))
THEIRS = {name: network for name, network in (NETWORKS | CROSS_CHECKS).items() if not isinstance(network, type)}
PAIRS = [("dcn", DCN), ("dcnv2", DCNv2), ("deepfm", DeepFM), ("pnn", PNN)]


def _library(name: str, shape: NetworkShape = SHAPE) -> LibraryNetwork:
    model = THEIRS[name](shape)
    assert isinstance(model, LibraryNetwork)
    return model


def _give_weights(ours: DCN | DCNv2 | DeepFM | PNN, theirs: LibraryNetwork) -> None:
    """Copy ours into the library's network, name by name; what ours lacks, its linear term, is set to 0."""
    network = theirs.network
    for field, table in enumerate(torch.split(ours.embedding.weight, list(SHAPE.field_sizes))):
        network.embedding_dict[f"field{field}"].weight.copy_(table)
    for weight in network.linear_model.parameters():
        weight.zero_()
    for block in range(len(SHAPE.mlp)):
        network.dnn.linears[block].load_state_dict(ours.mlp[4 * block].state_dict())
        network.dnn.bn[block].load_state_dict(ours.mlp[4 * block + 1].state_dict())
    network.dnn_linear.weight.copy_(ours.head.weight)
    if isinstance(ours, DeepFM):
        for field, weights in enumerate(torch.split(ours.linear.embedding.weight, list(SHAPE.field_sizes))):
            network.linear_model.embedding_dict[f"field{field}"].weight.copy_(weights)
        network.out.bias.copy_(ours.linear.bias)
    else:
        network.out.bias.copy_(ours.head.bias)
    if isinstance(ours, DCN):
        network.crossnet.kernels.copy_(ours.cross_weight.unsqueeze(2))
        network.crossnet.bias.copy_(ours.cross_bias.unsqueeze(2))
    if isinstance(ours, DCNv2):
        network.crossnet.kernels.copy_(torch.stack([layer.weight for layer in ours.cross]))  # type: ignore[misc]
        network.crossnet.bias.copy_(torch.stack([layer.bias for layer in ours.cross]).unsqueeze(2))  # type: ignore[misc]


@pytest.mark.parametrize(("name", "network"), PAIRS)
def test_with_the_same_weights_ours_and_the_librarys_are_one(
    name: str, network: type[DCN | DCNv2 | DeepFM | PNN]
) -> None:
    """Two programs, written apart, give the same logits in evaluation and the same gradients in training."""
    torch.manual_seed(3)
    ours, theirs = network(SHAPE), _library(f"{name}-deepctr")
    rows = torch.stack([torch.randint(size, (40,)) for size in SHAPE.field_sizes], dim=1)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.4)
        _give_weights(ours, theirs)
    ours.eval()
    theirs.eval()
    logits = ours(rows)
    assert logits.std() > 0.1
    torch.testing.assert_close(theirs(rows), logits, rtol=1e-4, atol=1e-4)

    for model in (ours, theirs):
        model.train()
        for dropout in (module for module in model.modules() if isinstance(module, nn.Dropout)):
            dropout.p = 0.0
        nn.functional.binary_cross_entropy_with_logits(model(rows), (rows.sum(1) % 2).float()).backward()  # type: ignore[no-untyped-call]
    starts = [0, *accumulate(SHAPE.field_sizes)]
    assert ours.embedding.weight.grad is not None
    for field in range(3):
        expected = ours.embedding.weight.grad[starts[field] : starts[field + 1]]
        found = theirs.network.embedding_dict[f"field{field}"].weight.grad
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["dcn", "dcnv2", "deepfm", "pnn"])
def test_fitted_apart_ours_and_the_librarys_agree(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """From starts of their own: the mean validation AUC of two seeds is the same within its standard error."""
    dataset = toy_dataset(tmp_path_factory.mktemp("toy") / "agree", fields=FIELDS[:1])
    config = RecommenderConfig(codes="none", batch=128, dropout=0.0, epochs=10, patience=10)
    valid = dataset.rows("valid")

    def mean_auc(network: Network) -> Auc:
        fits = [fit_recommender(dataset, None, config, seed, network=network) for seed in range(2)]
        return Auc.of(valid["label"], float(np.mean([fitted.evaluate(valid)["auc"] for fitted in fits])))

    ours = mean_auc(NETWORKS[name])
    assert not ceiling(valid).beats(ours)
    assert mean_auc(CROSS_CHECKS[f"{name}-deepctr"]).value == pytest.approx(ours.value, abs=ours.error)


@pytest.mark.parametrize("name", THEIRS)
def test_the_librarys_networks_start_like_ours(name: str) -> None:
    """Embeddings fill the Xavier range of one table for all fields, no linear layer starts near zero."""
    shape = NetworkShape((300, 200, 100), mlp=(16, 16))
    torch.manual_seed(0)
    network = _library(name, shape).network
    bound = (6 / (600 + 8)) ** 0.5
    assert len(network.embedding_dict) == 3
    for weight in network.embedding_dict.parameters():
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    for module in network.modules():
        if isinstance(module, nn.Linear) and module.weight.numel() > 100:
            assert module.weight.std().item() == pytest.approx((3 * module.in_features) ** -0.5, rel=0.2)


@pytest.mark.parametrize("name", [name for name in THEIRS if name not in ("afm",)])
def test_the_librarys_mlps_are_like_ours(name: str) -> None:
    """Linear -> BatchNorm -> ReLU -> Dropout of the widths and rate that were asked for; ONN's has no BatchNorm."""
    network = _library(name, NetworkShape((7, 5, 3), mlp=(12, 6), dropout=0.37)).network
    [mlp] = [module for module in network.modules() if type(module).__name__ == "DNN"]
    assert [layer.out_features for layer in mlp.linears] == [12, 6]
    assert mlp.use_bn == (name != "onn")
    if mlp.use_bn:
        assert [layer.num_features for layer in mlp.bn] == [12, 6]
    assert mlp.dropout.p == 0.37


IMPORTS = """
import socket, sys, threading
def refuse(*_, **__):
    raise SystemExit("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
started = []
threading.Thread.start = lambda thread: started.append(thread)

import userip.training.recommender.networks
print("deepctr_torch" in sys.modules)
from userip.training.recommender.deepctr import load_library
print(load_library().__version__, len(started), "requests" in sys.modules)

for name in [name for name in sys.modules if name.startswith("deepctr_torch")]:
    del sys.modules[name]
import deepctr_torch
print(len(started))
"""


def test_the_library_is_loaded_late_and_silently() -> None:
    """The registry does not import it, and our import starts no thread nor loads what would ask PyPI.

    Imported as it is, it would: the last figure is the thread that was held back.
    """
    told = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.split() == ["False", "0.3.0", "0", "False", "1"]


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ConfigError, which the user can fix, and not an ImportError."""
    monkeypatch.setitem(sys.modules, "deepctr_torch", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'userip[baselines]'")):
        NETWORKS["afm"](SHAPE)
    with pytest.raises(ConfigError, match="deepctr_torch"):
        load_library()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (NetworkShape((9,)), "AFM pairs fields, and there is one only"),
        (NetworkShape((9, 4), mlp=()), "mlp: AFM needs at least one width"),
        (NetworkShape((9, MAX_ROWS + 1)), f"at most {MAX_ROWS} rows"),
    ],
)
def test_shapes_that_the_library_cannot_have_are_refused(shape: NetworkShape, message: str) -> None:
    """One field, no MLP, or more rows than float32 counts: one line that names the setting."""
    with pytest.raises(ConfigError, match=message):
        NETWORKS["afm"](shape)
