"""Recommenders over categorical fields. One is a file of this folder and a line of `RECOMMENDERS`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from userip.models.graphs.graph import FieldRoles, Rows, ScorerGraph
from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.dcn_graph import fold_dcn
from userip.models.recommenders.dcnv2 import DCNv2
from userip.models.recommenders.deepfm import DeepFM
from userip.models.recommenders.ffm import FFM
from userip.models.recommenders.layers import Network
from userip.models.recommenders.pnn import PNN


@dataclass(frozen=True)
class Recommender:
    """What is fitted and served under one name.

    network  makes it: rows int64 [B, F] -> logits float32 [B]
    fold     writes a fitted one as a graph over one short row per id, exactly: (network in evaluation mode, roles of
             its fields, catalogue int64 [n_items, 1 + categories]) -> graph. Without it the network is served as torch
             exports it, which does the whole work for each candidate
    """

    network: Network
    fold: Callable[[Any, FieldRoles, Rows], ScorerGraph] | None = None


RECOMMENDERS: Final[dict[str, Recommender]] = {
    "dcn": Recommender(DCN, fold_dcn),
    "dcnv2": Recommender(DCNv2),
    "deepfm": Recommender(DeepFM),
    "pnn": Recommender(PNN),
    "ffm": Recommender(FFM),
}
