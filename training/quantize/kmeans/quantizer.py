"""k-means as an entry of QUANTIZERS. What is heavy is imported when it is needed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from userip.training.methods.protocol import Facet
from userip.training.quantize.config import QuantizeConfig
from userip.training.quantize.kmeans.config import KMeansConfig
from userip.training.quantize.protocol import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from userip.models.quantizers.codebook import FacetCodes
    from userip.training.methods.em_state import EMState


class KMeans:
    """One code per facet, the nearest in a metric that counts the directions which move clicks."""

    name: str = "kmeans"
    settings: type[QuantizeConfig] = KMeansConfig
    refines: bool = True

    def codes(self, facets: tuple[Facet, ...], config: QuantizeConfig) -> tuple[Facet, ...]:
        """The facets themselves."""
        return facets

    def fit(self, problem: Problem, config: QuantizeConfig) -> "EMState":
        """As `first_codebooks`."""
        from userip.training.quantize.kmeans.first import first_codebooks

        return first_codebooks(problem, own(config))

    def open(self, tensors: "Mapping[str, Tensor]", straight_through: str) -> "FacetCodes":
        """Codes and metric."""
        from userip.models.quantizers.codebook import Codebook

        return Codebook(tensors["codes"], tensors["scale"], straight_through)

    def following(self, before: "EMState", problem: Problem, config: QuantizeConfig, *, last: bool) -> "EMState":
        """As `next_m_step`."""
        from userip.training.quantize.kmeans.m_step import next_m_step

        return next_m_step(before, problem, own(config), last=last)


def own(config: QuantizeConfig) -> KMeansConfig:
    """The section `quantize` of a configuration of this quantizer."""
    assert isinstance(config, KMeansConfig)
    return config
