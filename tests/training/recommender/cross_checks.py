"""The networks of deepctr-torch that we wrote ourselves: the two have to agree."""

from typing import Any, Final

from userip.models.recommenders.layers import Network, NetworkShape
from userip.training.recommender.deepctr import library_network


def _deep(shape: NetworkShape) -> dict[str, Any]:
    return {"dnn_hidden_units": shape.mlp, "dnn_dropout": shape.dropout}


def _deepfm(shape: NetworkShape) -> dict[str, Any]:
    return _deep(shape) | {"dnn_use_bn": True}


def _cross(shape: NetworkShape) -> dict[str, Any]:
    return _deepfm(shape) | {"cross_num": shape.cross_layers}


def _cross_matrix(shape: NetworkShape) -> dict[str, Any]:
    return _cross(shape) | {"cross_parameterization": "matrix"}


CROSS_CHECKS: Final[dict[str, Network]] = {
    "deepfm-deepctr": library_network("DeepFM", _deepfm),
    "pnn-deepctr": library_network("PNN", _deep),
    "dcnv2-deepctr": library_network("DCN", _cross_matrix),
    "dcnmix-deepctr": library_network("DCNMix", _cross),
    "dcn-deepctr": library_network("DCN", _cross),
}
