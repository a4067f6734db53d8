"""Settings of the recommender (docs/method.md#recommender).

Rate, weight decay and dropout are those that validation AUC chose for the plain DCN on three real sets; with the
paper's own (preset `paper`: .001, 1e-6, .2) it stays half a point of AUC below a logistic regression.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

CodesKind = Literal["profile", "none", "constant", "random", "shuffled"]
DEFAULT: Final = "dcn"
LATER: Final = ("recommender", "wide", "dot", "shared_codes", "calibrated")  # settings that came after the first
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class RecommenderConfig(BaseModel):
    """How the recommender is built and fitted. Frozen; an unknown key is refused.

    recommender      a name of `models.recommenders.RECOMMENDERS`.
    codes            `profile`: the codes of the quantize step. `none`: no code fields. Controls of the same
                     shape: `constant` (one value for all), `random`, `shuffled` (codes of another user).
    user_field       without it the recommender has no table per user: whoever has codes is served fully.
    id_dropout       share of training rows whose user row is hidden: a user folded in after training.
    profile_dropout  share of training rows whose user row, codes and user fields are all hidden: a stranger.
    item_dropout     share of training rows whose item and item fields (and, apart, context) are hidden.
    patience         epochs without a better validation AUC after which fitting stops.
    wide, dot        paths beside the network (docs/method.md#paths): a number per row of every field, and a vector per
                     code and item whose product is how well they fit. They start at what the profile method knows.
    shared_codes     the codes of a user share one slot of x_0, where their embeddings add up.
    calibrated       scale and shift of the logits are fitted to validation rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recommender: str = DEFAULT
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
    wide: bool = False
    dot: bool = False
    shared_codes: bool = False
    calibrated: bool = False

    @field_validator("recommender")
    @classmethod
    def _known(cls, name: str) -> str:
        if name != DEFAULT:  # whoever keeps the default loads no torch for its settings
            from userip.models.recommenders import RECOMMENDERS

            if name not in RECOMMENDERS:
                raise ValueError(f"no recommender {name!r}; there are {', '.join(RECOMMENDERS)}")
        return name

    @model_serializer(mode="wrap")
    def _without_default(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is as it always was: releases and caches of a plain DCN stay, byte by byte, the same."""
        content: dict[str, Any] = write(self)
        fields = type(self).model_fields
        return {key: value for key, value in content.items() if key not in LATER or value != fields[key].default}

    @model_validator(mode="after")
    def _sharable(self) -> "RecommenderConfig":
        if self.shared_codes and self.recommender == "ffm":
            raise ValueError("shared_codes: an FFM has an embedding per pair of fields; set it to false")
        return self
