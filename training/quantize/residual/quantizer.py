"""Residual k-means as an entry of QUANTIZERS. What is heavy is imported when it is needed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from userip.training.methods.protocol import Facet
from userip.training.quantize.config import QuantizeConfig
from userip.training.quantize.protocol import Problem
from userip.training.quantize.residual.config import ResidualConfig

if TYPE_CHECKING:
    from torch import Tensor

    from userip.models.quantizers.codebook import FacetCodes
    from userip.training.methods.em_state import EMState


class ResidualKMeans:
    """Several codes per facet: `hobby`, `hobby_2`, `hobby_3`, ..; each refines those before it."""

    name: str = "residual"
    settings: type[QuantizeConfig] = ResidualConfig
    refines: bool = False

    def codes(self, facets: tuple[Facet, ...], config: QuantizeConfig) -> tuple[Facet, ...]:
        """A facet's own name and size, then its name with the number of the level."""
        assert isinstance(config, ResidualConfig)
        named = [facet.name for facet in facets]
        if isinstance(config.levels, dict) and (strange := sorted(set(config.levels) - set(named))):
            raise ValueError(f"quantize.levels: no facet {strange[0]!r}; there are {', '.join(named)}")
        return tuple(
            Facet(facet.name if level == 1 else f"{facet.name}_{level}", size)
            for facet in facets
            for level, size in enumerate(config.sizes(facet.name, facet.size), start=1)
        )

    def fit(self, problem: Problem, config: QuantizeConfig) -> "EMState":
        """Level by level, in the metric of clicks. The surrogate is not kept: nothing moves after it."""
        from userip.models.quantizers.residual import residual_kmeans
        from userip.training.methods.em_state import EMState
        from userip.training.quantize.figures import figures_of
        from userip.training.quantize.metric import click_metric

        assert isinstance(config, ResidualConfig)
        scales, _, losses = click_metric(problem, config)
        books = [
            residual_kmeans(
                problem.z[:, j],
                config.sizes(facet.name, facet.size),
                scale,
                restarts=config.restarts,
                seed=problem.seed,
            )
            for j, (facet, scale) in enumerate(zip(problem.facets, scales, strict=True))
        ]
        return EMState(books, None, figures=figures_of(books, problem.z, losses, []))

    def open(self, tensors: "Mapping[str, Tensor]", straight_through: str) -> "FacetCodes":
        """Codes and metric of every level."""
        from userip.models.quantizers.codebook import Codebook
        from userip.models.quantizers.residual import ResidualCodebook

        levels = range(sum(name.endswith(".codes") for name in tensors))
        parts = [(tensors[f"books.{one}.codes"], tensors[f"books.{one}.scale"]) for one in levels]
        return ResidualCodebook([Codebook(*part, straight_through) for part in parts])
