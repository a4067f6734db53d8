"""Settings of the quantize step."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from userip.training.methods.refine_config import Count, Positive, Rate, RefineConfig, Weight
from userip.training.quantize import QUANTIZERS


class QuantizeConfig(RefineConfig):
    """From soft prompts to codes (docs/method.md#em, S3 to S5).

    kind              a name of QUANTIZERS.
    start             codebooks begin as `kmeans` of the inferred z, or `uniform` in (-1/K, 1/K) as released.
    click_rounds      rounds before there are codebooks: M fits the surrogate to dense z, E moves every z to where the
                      surrogate explains its history.
    metric            distances `standardised` per dimension, or `plain`.
    click_weight      how much the directions that move the surrogate's click logit count beside that: share of
                      variance, 0 switches them off.
    em_rounds         alternations of E and M steps after the first codebooks. 0: these stay, and no E step follows.
                      Both kinds of rounds need a method that can refine its profiles.
    update            M step of the codebooks: `mean` (exact, with `decay` an EMA) or `gradient` (`steps` AdamW
                      steps of rate `codes_lr`).
    surrogate         L_rec of Eq. 5.
    straight_through  `both`: gradient of L_rec to z and, where `update` is `gradient`, to codes; `z`: to z alone.
    surrogate_epochs, surrogate_lr, surrogate_decay, projection_decay  passes over the train rows in every M step,
                      Adam's rate, and weight decay of the network and of the projections P_j that read profiles.
    revive_share      a code with under this share of an even part of users is moved, but for the last round.
    """

    kind: str = "kmeans"
    start: Literal["kmeans", "uniform"] = "kmeans"
    click_rounds: Count = 0
    metric: Literal["standardised", "plain"] = "standardised"
    click_weight: Weight = 30.0
    restarts: Positive = 10
    em_rounds: Count = 0
    update: Literal["mean", "gradient"] = "mean"
    codes_lr: Rate = 1e-3
    decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    surrogate: bool = True
    straight_through: Literal["both", "z"] = "both"
    surrogate_epochs: Positive = 8
    surrogate_lr: Rate = 1e-2
    surrogate_decay: Weight = 3e-4
    projection_decay: Weight = 3e-3
    revive_share: Weight = 0.05

    @field_validator("kind")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in QUANTIZERS:
            raise ValueError(f"{name!r} is no quantizer; there are {', '.join(QUANTIZERS)}")
        return name

    @property
    def dense_rounds(self) -> int:
        """Rounds without codebooks: none where there is no surrogate."""
        return self.click_rounds if self.surrogate else 0

    @property
    def last_round(self) -> int:
        """The number of the last M step: dense rounds first, then those with codebooks."""
        return self.dense_rounds + self.em_rounds
