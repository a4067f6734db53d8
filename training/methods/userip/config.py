"""Settings of profile inference and quantization. Defaults are the preset `practical`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0.0)]
Rate = Annotated[float, Field(gt=0.0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InferConfig(_Frozen):
    """From histories to soft prompts (docs/method.md#em, S1 and S2).

    folds          cross-fitting: train rows get codes inferred without their fold of the user's rows. 0: off.
    soft_tokens    m, soft tokens per facet.
    start          where a user's z begins: `filler`: shared prompt plus what the user's slot words differ from
                   the mean; `shared`: the shared prompt; `random`: uniform in (-.1, .1), as released.
    shared_steps   steps of the shared prompt's warm-up, `shared_users` users each.
    rank           profiles move in the `rank` principal directions in which their starts differ (without slot
                   words: in which word embeddings differ). 0: in all directions, as in the paper.
    steps          E steps per user at most; the number used is chosen on held-out interactions of train users.
    priors         strengths 1 / (2 s^2) of the Gaussian prior around the start to choose from, s in standard
                   deviations along each direction (rank 0: in embedding RMS).
    probe_users    train users whose histories are parted 70:30 for that choice. 0: no choice, all steps and the
                   first prior are used.
    lr             Adam's rate, in the same units.
    items_per_step a step sees at most so many interactions of a user, drawn anew.
    title_stride   a step scores every so many-th title token, another one each step: half the time is softmax.
    batch_tokens   a batch of users holds about so many tokens.
    """

    folds: Annotated[int, Field(ge=0, le=20)] = 2
    soft_tokens: Positive = 1
    start: Literal["filler", "shared", "random"] = "filler"
    rank: Count = 16
    shared_steps: Count = 20
    shared_users: Positive = 64
    steps: Count = 2
    priors: tuple[Weight, ...] = (1.0, 4.0)
    probe_users: Count = 192
    lr: Rate = 0.1
    items_per_step: Positive = 16
    title_stride: Positive = 4
    batch_tokens: Positive = 6_000

    @field_validator("folds")
    @classmethod
    def _parts(cls, folds: int) -> int:
        if folds == 1:  # a history without its only fold is empty
            raise ValueError("0 is off, 2 or more cross-fit; 1 would leave no history at all")
        return folds


class QuantizeConfig(_Frozen):
    """From soft prompts to codes (docs/method.md#em, S3 to S5).

    start             codebooks begin as `kmeans` of the inferred z, or `uniform` in (-1/K, 1/K) as released.
    click_rounds      rounds before there are codebooks: M fits the surrogate to dense z, E moves every z to where the
                      surrogate explains its history (`click_steps` Adam steps of rate `click_lr`), under a Gaussian
                      prior of strength `click_prior` around what the language model inferred.
    metric            distances `standardised` per dimension, or `plain`.
    click_weight      how much the directions that move the surrogate's click logit count beside that: share of
                      variance, 0 switches them off.
    rounds            alternations of E and M steps after the first codebooks. 0: these stay, and no E step follows.
    steps             E steps per round.
    lr                Adam's rate of these E steps, as in `infer`.
    update            M step of the codebooks: `mean` (exact, with `decay` an EMA) or `gradient` (`steps` AdamW
                      steps of rate `codes_lr`).
    alpha, beta, gamma  weights of Eq. 5 and 7: codebook, commitment, and the whole of L_VQ.
    reduction         of squared distances over dimensions: `sum`, or `mean` as in the paper (then nothing moves).
    surrogate         L_rec of Eq. 5; `balance` scales it so that its gradient on z starts as large as L_LM's.
    straight_through  `both`: gradient of L_rec to z and, where `update` is `gradient`, to codes; `z`: to z alone.
    surrogate_epochs, surrogate_lr, surrogate_decay, projection_decay  passes over the train rows in every M step,
                      Adam's rate, and weight decay of the network and of the projections P_j that read profiles.
    revive_share      a code with under this share of an even part of users is moved, but for the last round.
    """

    start: Literal["kmeans", "uniform"] = "kmeans"
    click_rounds: Count = 0
    click_steps: Count = 12
    click_lr: Rate = 0.15
    click_prior: Weight = 0.5
    metric: Literal["standardised", "plain"] = "standardised"
    click_weight: Weight = 30.0
    restarts: Positive = 10
    rounds: Count = 0
    steps: Count = 2
    lr: Rate = 0.05
    update: Literal["mean", "gradient"] = "mean"
    codes_lr: Rate = 1e-3
    decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    alpha: Weight = 1.0
    beta: Weight = 0.25
    gamma: Weight = 0.1
    reduction: Literal["sum", "mean"] = "sum"
    surrogate: bool = True
    balance: bool = True
    straight_through: Literal["both", "z"] = "both"
    surrogate_epochs: Positive = 8
    surrogate_lr: Rate = 1e-2
    surrogate_decay: Weight = 3e-4
    projection_decay: Weight = 3e-3
    revive_share: Weight = 0.05

    @property
    def dense_rounds(self) -> int:
        """Rounds without codebooks: none where there is no surrogate."""
        return self.click_rounds if self.surrogate else 0

    @property
    def last_round(self) -> int:
        """The number of the last M step: dense rounds first, then those with codebooks."""
        return self.dense_rounds + self.rounds
