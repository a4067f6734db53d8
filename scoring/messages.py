"""Requests and answers of the API, for the service and for a client; needs msgspec alone. A new field goes here."""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType


class ScoreRequest(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Candidates to score for one user."""

    user_id: str
    item_ids: list[str]
    context: dict[str, str] | None = None


class BatchRequest(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Several requests, answered with one bank read and one run of the graph."""

    requests: list[ScoreRequest]


class ReloadRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Which release to load."""

    release: Annotated[
        Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] | None,
        Meta(description="one that lies in release_dir or releases_dir, by its name; null: read release_dir again"),
    ] = None


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of what the service answers."""


class FieldProblem(Answer, frozen=True):
    """What is wrong with one field of a request, e.g. `("item_ids[3]", "expected str, got int")`."""

    field: str
    problem: str


class Problem(Answer, frozen=True):
    """RFC 9457. `errors` names the fields of a request that cannot be used."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] | UnsetType = UNSET
    request_id: str | UnsetType = UNSET


class ScoreResponse(Answer, frozen=True):
    """Click-through probabilities in the order of `item_ids`, and what they rest on."""

    user_id: str
    release: str
    profile: Annotated[
        Literal["known", "default", "unavailable"],
        Meta(description="known: the bank has the user; default: it has not; unavailable: the lookup failed"),
    ]
    scores: list[Annotated[float, Meta(ge=0, le=1)]]
    unknown_items: Annotated[
        list[Annotated[int, Meta(ge=0)]],
        Meta(description="positions in item_ids that the release does not know; scored as an unknown item"),
    ]


class BatchResponse(Answer, frozen=True):
    """One response per request, in order."""

    responses: list[ScoreResponse]


class ProfileCode(Answer, frozen=True):
    """One facet of the user's profile, in words."""

    facet: str
    code: Annotated[int | None, Meta(description="null where inference gave none")]
    codebook_size: int
    description: list[str]


class ProfileAnswer(Answer, frozen=True):
    """A user's profile as the served release knows it."""

    user_id: str
    release: str
    codes: list[ProfileCode]


class Health(Answer, frozen=True):
    """The process is alive."""

    status: Literal["ok"]


class Readiness(Answer, frozen=True):
    """The release is loaded, and the bank answers and holds its records."""

    status: Literal["ready"]
    release: str
    release_outdated: Annotated[
        bool,
        Meta(description="another release than the served one is active in the bank, or an operator's choice"),
    ]


class FieldAnswer(Answer, frozen=True):
    """One field of the recommender. `values` for context fields: what a request may say."""

    name: str
    source: str
    size: int
    values: list[str] | None


class FacetAnswer(Answer, frozen=True):
    """One facet and the size of its codebook."""

    name: str
    codebook_size: int


class ReloadAnswer(Answer, frozen=True):
    """How the last reload of this worker ended; `at` in unix seconds."""

    ok: bool
    at: float
    release: str | None
    problem: str | None = None


class ShadowAnswer(Answer, frozen=True):
    """The shadow release, and how its probabilities differ from the served ones, as this worker saw it."""

    release: str
    share: float
    compared: int
    dropped: Annotated[int, Meta(description="requests that there was no time for")]
    failed: Annotated[int, Meta(description="requests whose profile one of the two releases could not read")]
    candidates: int
    mean_difference: Annotated[float | None, Meta(description="shadow less served; null before the first comparison")]
    mean_absolute_difference: float | None
    largest_difference: float | None


class ReleaseAnswer(Answer, frozen=True):
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
    wanted: Annotated[
        str | None, Meta(description="active in the bank, or asked for by an operator; null where neither is known")
    ]
    last_reload: ReloadAnswer | None
    shadow: ShadowAnswer | None


class Reloaded(Answer, frozen=True):
    """The release that this worker serves now, and the one before."""

    release: str
    before: str


class RolledBack(Answer, frozen=True):
    """The bank's active release now, and the release that is served until its directory is replaced."""

    active: str
    served: str


# What a route takes or answers, for the OpenAPI document; the types inside follow. Bodies of the hot routes have limits
# that are set, so `service.routes.decoding` makes theirs.
MESSAGES: Final = (
    ReloadRequest,
    Problem,
    ScoreResponse,
    BatchResponse,
    ProfileAnswer,
    Health,
    Readiness,
    ReleaseAnswer,
    Reloaded,
    RolledBack,
)
