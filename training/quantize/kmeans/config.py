"""Settings of the quantizer `kmeans`."""

from typing import Annotated, Literal

from pydantic import Field

from userip.training.methods.refine_config import Rate, Weight
from userip.training.quantize.config import QuantizeConfig


class KMeansConfig(QuantizeConfig):
    """One code per facet.

    start             codebooks begin as `kmeans` of the inferred z, or `uniform` in (-1/K, 1/K) as released.
    update            M step of the codebooks: `mean` (exact, with `decay` an EMA) or `gradient` (`steps` AdamW
                      steps of rate `codes_lr`).
    straight_through  `both`: gradient of L_rec to z and, where `update` is `gradient`, to codes; `z`: to z alone.
    revive_share      a code with under this share of an even part of users is moved, but for the last round.
    """

    start: Literal["kmeans", "uniform"] = "kmeans"
    update: Literal["mean", "gradient"] = "mean"
    codes_lr: Rate = 1e-3
    decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    straight_through: Literal["both", "z"] = "both"
    revive_share: Weight = 0.05

    @property
    def learns_codes(self) -> bool:
        """Whether L_rec moves the codes. Exact means stay: it would drag a code off its users until it is empty."""
        return self.straight_through == "both" and self.update == "gradient"
