"""Settings of profile inference by soft prompts."""

from typing import Annotated, Literal

from pydantic import Field

from userip.training.methods.settings import MethodSettings

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0.0)]
Rate = Annotated[float, Field(gt=0.0)]


class InferConfig(MethodSettings):
    """From histories to soft prompts (docs/method.md#em, S1 and S2).

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
