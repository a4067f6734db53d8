"""Settings that every quantizer has: a quantizer's own extend these."""

from typing import Literal

from userip.training.methods.refine_config import Count, Positive, Rate, RefineConfig, Weight


class QuantizeConfig(RefineConfig):
    """From profiles to codes (docs/method.md#em, S3 to S5).

    kind              a name of QUANTIZERS; this section holds its own settings.
    click_rounds      rounds before there are codebooks: M fits the surrogate to dense z, E moves every z to where the
                      surrogate explains its history.
    metric            distances `standardised` per dimension, or `plain`.
    click_weight      how much the directions that move the surrogate's click logit count beside that: share of
                      variance, 0 switches them off.
    restarts          of k-means; the best is kept.
    em_rounds         alternations of E and M steps after the first codebooks. 0: these stay, and no E step follows.
                      Both kinds of rounds need a method that can refine its profiles.
    surrogate         L_rec of Eq. 5.
    surrogate_epochs, surrogate_lr, surrogate_decay, projection_decay  passes over the train rows in every M step,
                      Adam's rate, and weight decay of the network and of the projections P_j that read profiles.
    """

    kind: str = "kmeans"
    click_rounds: Count = 0
    metric: Literal["standardised", "plain"] = "standardised"
    click_weight: Weight = 30.0
    restarts: Positive = 10
    em_rounds: Count = 0
    surrogate: bool = True
    surrogate_epochs: Positive = 8
    surrogate_lr: Rate = 1e-2
    surrogate_decay: Weight = 3e-4
    projection_decay: Weight = 3e-3

    @property
    def dense_rounds(self) -> int:
        """Rounds without codebooks: none where there is no surrogate."""
        return self.click_rounds if self.surrogate else 0

    @property
    def last_round(self) -> int:
        """The number of the last M step: dense rounds first, then those with codebooks."""
        return self.dense_rounds + self.em_rounds
