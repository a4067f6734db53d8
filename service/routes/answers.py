"""The answers of the routes that use pydantic, as the OpenAPI document shows them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Base: nothing unknown leaves, nothing is changed on the way."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProfileCode(Answer):
    """One facet of the user's profile, in words."""

    facet: str
    code: int | None = Field(description="null where inference gave none")
    codebook_size: int
    description: list[str]


class ProfileAnswer(Answer):
    """A user's profile as the served release knows it."""

    user_id: str
    release: str
    codes: list[ProfileCode]


class Health(Answer):
    """The process is alive."""

    status: Literal["ok"]


class Readiness(Answer):
    """The release is loaded, and the bank answers and holds it as its active one."""

    status: Literal["ready"]
    release: str


class FieldAnswer(Answer):
    """One field of the recommender. `values` for context fields: what a request may say."""

    name: str
    source: str
    size: int
    values: list[str] | None


class FacetAnswer(Answer):
    """One facet and the size of its codebook."""

    name: str
    codebook_size: int


class ReloadAnswer(Answer):
    """How the last reload of this worker ended."""

    ok: bool
    at: float
    release: str | None
    problem: str | None


class ShadowAnswer(Answer):
    """The shadow release, and how its probabilities differ from the served ones, as this worker saw it."""

    release: str
    share: float
    compared: int
    dropped: int = Field(description="requests that there was no time for")
    failed: int = Field(description="requests whose profile one of the two releases could not read")
    candidates: int
    mean_difference: float | None = Field(description="shadow less served; null before the first comparison")
    mean_absolute_difference: float | None
    largest_difference: float | None


class ReleaseAnswer(Answer):
    """What is served."""

    release: str
    created: str
    loaded_at: float
    dataset: str | None
    users: int
    items: int
    fields: list[FieldAnswer]
    facets: list[FacetAnswer]
    metrics: dict[str, Any]
    wanted: str | None = Field(description="what the bank's pointer or an operator asks for; null where neither does")
    last_reload: ReloadAnswer | None
    shadow: ShadowAnswer | None


class Reloaded(Answer):
    """The release that this worker serves now, and the one before."""

    release: str
    before: str


class RolledBack(Answer):
    """The bank's active release now, and the release that is served until its directory is replaced."""

    active: str
    served: str
