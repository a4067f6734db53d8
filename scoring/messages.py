"""The messages of the API, for both of its ends: the service and a client. They need msgspec and nothing of ours."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class ScoreRequest(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Candidates to score for one user."""

    user_id: str
    item_ids: list[str]
    context: dict[str, str] | None = None


class BatchRequest(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Several requests, answered with one bank read and one run of the graph."""

    requests: list[ScoreRequest]


class ScoreResponse(Struct, frozen=True, forbid_unknown_fields=True):
    """Click-through probabilities in the order of `item_ids`, and what they rest on."""

    user_id: str
    release: str
    profile: Annotated[
        Literal["known", "default", "unavailable"],
        Meta(description="known: the bank holds the user; default: it does not; unavailable: it could not say"),
    ]
    scores: list[Annotated[float, Meta(ge=0, le=1)]]
    unknown_items: Annotated[
        list[Annotated[int, Meta(ge=0)]],
        Meta(description="positions in item_ids that the release does not know; scored as an unknown item"),
    ]


class BatchResponse(Struct, frozen=True, forbid_unknown_fields=True):
    """One response per request, in order."""

    responses: list[ScoreResponse]
