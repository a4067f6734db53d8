"""Every network that can be fitted, by name: our recommenders, and those of deepctr-torch to compare with.

See docs/method.md#other-networks.

All are fitted by the one loop of `training.recommender.fit`, from the same `RecommenderConfig`: `cross_layers` is
the depth of the networks that have one apart from the MLP, `dropout` and `mlp` are theirs where they have such parts.
"""

from math import gcd
from typing import Any, Final

from userip.models.recommenders import RECOMMENDERS
from userip.models.recommenders.layers import Network, NetworkShape
from userip.training.recommender.deepctr import library_network


def _deep(shape: NetworkShape) -> dict[str, Any]:
    return {"dnn_hidden_units": shape.mlp, "dnn_dropout": shape.dropout}


def _afm(shape: NetworkShape) -> dict[str, Any]:
    return {"attention_factor": shape.embedding, "afm_dropout": shape.dropout}


def _difm(shape: NetworkShape) -> dict[str, Any]:
    return _deep(shape) | {"dnn_use_bn": True, "att_head_num": gcd(4, shape.embedding)}


def _afn(shape: NetworkShape) -> dict[str, Any]:
    return {"afn_dnn_hidden_units": shape.mlp, "dnn_dropout": shape.dropout}


def _autoint(shape: NetworkShape) -> dict[str, Any]:
    heads = {"att_layer_num": shape.cross_layers, "att_head_num": gcd(2, shape.embedding)}
    return _deep(shape) | heads | {"dnn_use_bn": True}


NETWORKS: Final[dict[str, Network]] = {name: ours.network for name, ours in RECOMMENDERS.items()} | {
    "afm": library_network("AFM", _afm),
    "fibinet": library_network("FiBiNET", _deep),
    "difm": library_network("DIFM", _difm),
    "afn": library_network("AFN", _afn),
    "autoint": library_network("AutoInt", _autoint),
    "onn": library_network("ONN", _deep),
}
