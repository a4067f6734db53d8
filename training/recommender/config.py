"""Settings of the recommender (docs/method.md#recommender).

Rate, weight decay and dropout are those that validation AUC chose for the plain DCN on three real sets; with the
paper's own (preset `paper`: .001, 1e-6, .2) it stays half a point of AUC below a logistic regression.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

CodesKind = Literal["profile", "none", "constant", "random", "shuffled"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class RecommenderConfig(BaseModel):
    """How the DCN is built and fitted. Frozen; an unknown key is refused.

    codes            `profile`: the codes of the quantize step. `none`: no code fields. Controls of the same
                     shape: `constant` (one value for all), `random`, `shuffled` (codes of another user).
    user_field       without it the recommender has no table per user: whoever has codes is served fully.
    id_dropout       share of training rows whose user row is hidden: a user folded in after training.
    profile_dropout  share of training rows whose user row, codes and user fields are all hidden: a stranger.
    item_dropout     share of training rows whose item and item fields (and, apart, context) are hidden.
    patience         epochs without a better validation AUC after which fitting stops.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    codes: CodesKind = "profile"
    user_field: bool = True
    embedding: Annotated[int, Field(ge=1, le=1024)] = 8
    cross_layers: Annotated[int, Field(ge=0, le=32)] = 3
    mlp: tuple[Annotated[int, Field(ge=1)], ...] = (16, 16)
    dropout: Share = 0.5
    lr: Annotated[float, Field(gt=0.0)] = 1e-2
    batch: Annotated[int, Field(ge=2)] = 2048
    weight_decay: Annotated[float, Field(ge=0.0)] = 3e-4
    epochs: Annotated[int, Field(ge=1)] = 50
    patience: Annotated[int, Field(ge=1)] = 3
    id_dropout: Share = 0.1
    profile_dropout: Share = 0.05
    item_dropout: Share = 0.01
