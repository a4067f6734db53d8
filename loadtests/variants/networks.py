"""The variants' networks, in evaluation mode, with random weights whose probabilities spread over (0.05, 0.95)."""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import torch

from userip.evaluation.baselines.kar_style import KarConfig
from userip.loadtests.variants.oracle import Oracle, oracle_of
from userip.loadtests.variants.shop import Shop
from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.kar import AdaptorShape, KarDCN, KarShape
from userip.models.recommenders.layers import NetworkShape
from userip.training.language.config import FACETS as FACET_CONFIGS
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.encoder import FieldEncoder

FACETS: Final = {facet.name: facet.size for facet in FACET_CONFIGS}
TEXT: Final = 384  # floats of a MiniLM vector
LARGEST_LOGIT: Final = 2.9  # of a sample, on either side: probabilities from 0.052 to 0.948
_SAMPLE: Final = 2048


@dataclass(frozen=True)
class Built:
    """A network with what its rows are looked up in."""

    model: DCN
    encoder: FieldEncoder
    profiles: pl.DataFrame
    oracle: Oracle


def build_dcn(shop: Shop, seed: int, *, codes: bool) -> Built:
    """The DCN over the shop's fields, and over the codes of its users where `codes`."""
    encoder = shop.with_codes(FACETS) if codes else shop.encoder
    profiles = shop.profiles_with_codes(FACETS) if codes else shop.profiles
    config = RecommenderConfig()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DCN(NetworkShape(encoder.sizes, config.embedding, config.cross_layers, config.mlp, config.dropout))
        _scatter(model)
    return Built(model, encoder, profiles, oracle_of(model, encoder, profiles, shop.catalogue))


def build_kar(shop: Shop, seed: int) -> Built:
    """KAR's network over the same fields and a random text vector of every user and item, of length 1."""
    config, kar = RecommenderConfig(), KarConfig()
    adaptor = AdaptorShape(TEXT, kar.shared, kar.dedicated, kar.hidden, kar.out)
    shape = KarShape(
        shop.encoder.sizes, config.embedding, config.cross_layers, config.mlp, config.dropout, adaptor=adaptor
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = KarDCN(shape, _texts(shop.users), _texts(len(shop.catalogue.ids)))
        _scatter(model)
    return Built(model, shop.encoder, shop.profiles, oracle_of(model, shop.encoder, shop.profiles, shop.catalogue))


def _texts(count: int) -> torch.Tensor:
    """Float32 [1 + count, TEXT]; row 0, no text, is zero."""
    vectors = torch.nn.functional.normalize(torch.randn(1 + count, TEXT), dim=1)
    vectors[0] = 0
    return vectors


def _scatter(model: DCN) -> None:
    """Give embeddings and BatchNorm what training would give them, a spread, then fit the logits' range."""
    model.eval()
    with torch.no_grad():
        model.embedding.weight.normal_(0, 0.3)
        for name, value in model.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_(0, 0.3)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
        logits = model(_sample(model))
        centre = logits.mean()
        scale = LARGEST_LOGIT / (logits - centre).abs().max()
        model.head.bias.copy_((model.head.bias - centre) * scale)
        model.head.weight.mul_(scale)


def _sample(model: DCN) -> torch.Tensor:
    """Rows of random users and items: int64 [n, F], or [n, F + 2] where the network reads texts."""
    sizes = list(model.shape.field_sizes)
    if isinstance(model, KarDCN):
        sizes += [len(model.user_vectors), len(model.item_vectors)]
    return torch.stack([torch.randint(size, (_SAMPLE,)) for size in sizes], dim=1)


def digest_of(built: Built) -> str:
    """sha256 over weights, vectors and profiles: what a release is made of."""
    digest = hashlib.sha256()
    for name, value in sorted(built.model.named_parameters()) + sorted(built.model.named_buffers()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().numpy()).data)
    digest.update(np.ascontiguousarray(built.profiles.drop("user_id").cast(pl.Int64).to_numpy()).data)
    return digest.hexdigest()
