"""Settings of the export step."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class ExportConfig(BaseModel):
    """What a release is called and how its codes are described. Frozen; an unknown key is refused.

    name             the start of the release's name; default: the data set's name and the method.
    words, items     at most so many words and items describe a code.
    min_users        a word or item counts only when at least so many users of the code liked it.
    smoothing        users with the base rate that are added to every code before a lift is taken.
    alpha            family-wise error of one code's words (Bonferroni): what is not significant is not shown.
    check_rows       rows on which the exported graph is held against torch before the release is written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None = None
    words: Annotated[int, Field(ge=0, le=100)] = 8
    items: Annotated[int, Field(ge=0, le=100)] = 5
    min_users: Annotated[int, Field(ge=1)] = 10
    smoothing: Annotated[float, Field(ge=0.0)] = 5.0
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.01
    check_rows: Annotated[int, Field(ge=1)] = 4096
