"""What every profile method can be set: a method's own settings extend these."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator


class MethodSettings(BaseModel):
    """The section `infer` of a configuration. Frozen; an unknown key is refused.

    folds  cross-fitting: train rows get codes inferred without their fold of the user's rows. 0: off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds: Annotated[int, Field(ge=0, le=20)] = 2

    @field_validator("folds")
    @classmethod
    def _parts(cls, folds: int) -> int:
        if folds == 1:  # a history without its only fold is empty
            raise ValueError("0 is off, 2 or more cross-fit; 1 would leave no history at all")
        return folds
