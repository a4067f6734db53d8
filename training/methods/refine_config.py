"""Settings of the E step between two M steps: what a `Refiner` reads of the section `quantize`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0.0)]
Rate = Annotated[float, Field(gt=0.0)]


class RefineConfig(BaseModel):
    """How profiles move under codebooks, or under clicks before there are any.

    click_steps, click_lr, click_prior  Adam steps and rate on clicks, and the strength of the Gaussian prior around
                        what was inferred.
    steps, lr           E steps per round and Adam's rate, as in `infer`.
    alpha, beta, gamma  weights of Eq. 5 and 7: codebook, commitment, and the whole of L_VQ.
    reduction           of squared distances over dimensions: `sum`, or `mean` as in the paper (then nothing moves).
    balance             scale L_rec so that its gradient on z starts as large as L_LM's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    click_steps: Count = 12
    click_lr: Rate = 0.15
    click_prior: Weight = 0.5
    steps: Count = 2
    lr: Rate = 0.05
    alpha: Weight = 1.0
    beta: Weight = 0.25
    gamma: Weight = 0.1
    reduction: Literal["sum", "mean"] = "sum"
    balance: bool = True
