"""Errors of the service room and their one rendering to a client (RFC 9457, `application/problem+json`).

ServiceError
├── StartError            the service cannot start as configured; exit code 2
├── ReloadError           a reload failed; the release before is still served
│   └── AbsentReleaseError   no directory holds the release
├── ScoringError          the graph gave something that is not a probability
└── ProblemError          what a client is told; each subclass is one domain fact with its status
    ├── MalformedBodyError     400  the body is not JSON
    ├── UnauthorizedError      401  a key is missing or wrong
    ├── ForbiddenError         403  the key does not open this route
    ├── UnknownUserError       404  the bank holds no profile of this user
    ├── ConflictError          409  the operation cannot be done in the present state
    ├── BodyTooLargeError      413  more bytes than `max_body_bytes`
    ├── EncodedBodyError       415  the body is compressed
    ├── InvalidRequestError    422  a field is missing, of the wrong type or over a limit
    ├── RateLimitedError       429  more requests of one key than its rate
    ├── OverloadedError        503  more requests at work than `max_in_flight`, or too long a queue
    ├── DeadlineError          503  no answer within `deadline_ms`
    ├── BankAwayError          503  the answer needs the bank, and it did not answer in time
    └── NotReadyError          503  what `/readyz` says while something is missing

`detail` and `errors` are written for clients: no paths, no URLs, no exception texts of libraries.
"""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple

import orjson

from userip.errors import UserIPError

PROBLEM_JSON = "application/problem+json"


def in_sentence(text: str) -> str:
    """What a library says in a sentence of its own, to go on with one of ours."""
    return text[:1].lower() + text[1:]


class FieldProblem(NamedTuple):
    """What is wrong with one field of a request, e.g. `("item_ids[3]", "expected str, got int")`."""

    field: str
    problem: str


class ServiceError(UserIPError):
    """Base of everything that the service raises on purpose."""


class StartError(ServiceError):
    """The service cannot start. The message names the setting, file or bank, and the mend."""

    exit_code = 2


class ReloadError(ServiceError):
    """A release could not be loaded beside the served one, which stays."""


class AbsentReleaseError(ReloadError):
    """No directory of the release is where the service looks."""


class ScoringError(ServiceError):
    """The graph returned values that are not probabilities."""


class ProblemError(ServiceError):
    """A fact that a client is told."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    kind: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    headers: Mapping[str, str] = {}

    def __init__(self, detail: str, errors: Sequence[FieldProblem] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class MalformedBodyError(ProblemError):
    """The body is not one JSON document in UTF-8."""

    status = HTTPStatus.BAD_REQUEST
    kind = "malformed-body"
    title = "Malformed body"

    def __init__(self, problem: str) -> None:
        super().__init__("The body is not a JSON document in UTF-8.", [FieldProblem("body", problem)])


class UnauthorizedError(ProblemError):
    """The key is missing or wrong."""

    status = HTTPStatus.UNAUTHORIZED
    kind = "unauthorized"
    title = "Unauthorized"
    headers: Mapping[str, str] = {"www-authenticate": "ApiKey"}


class ForbiddenError(ProblemError):
    """The key is right, and not for this."""

    status = HTTPStatus.FORBIDDEN
    kind = "forbidden"
    title = "Forbidden"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This route needs a key with the scope {scope}; the key that came does not have it.")


class UnknownUserError(ProblemError):
    """The bank holds no profile of this user for the served release."""

    status = HTTPStatus.NOT_FOUND
    kind = "unknown-user"
    title = "Unknown user"


class ConflictError(ProblemError):
    """The operation cannot be done in the present state; nothing was changed."""

    status = HTTPStatus.CONFLICT
    kind = "conflict"
    title = "Conflict"


class BodyTooLargeError(ProblemError):
    """The body has more bytes than the service reads."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    kind = "body-too-large"
    title = "Body too large"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The body is larger than {limit} bytes; send fewer candidates or requests at a time.",
            [FieldProblem("body", f"larger than {limit} bytes")],
        )


class EncodedBodyError(ProblemError):
    """The body is compressed. Decompressing would let a few bytes become many."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    kind = "encoded-body"
    title = "Encoded body"

    def __init__(self) -> None:
        super().__init__(
            "Bodies are read as they are; send this one without Content-Encoding.",
            [FieldProblem("body", "has a Content-Encoding")],
        )


class InvalidRequestError(ProblemError):
    """One or more fields are missing, unknown, of the wrong type, or over a limit."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    kind = "invalid-request"
    title = "Invalid request"

    def __init__(self, errors: Sequence[FieldProblem]) -> None:
        super().__init__("The request has fields that cannot be used; see errors.", errors)


class RateLimitedError(ProblemError):
    """One key sent more requests than its rate."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    kind = "rate-limited"
    title = "Too many requests"

    def __init__(self, seconds: float) -> None:
        wait = max(1, math.ceil(seconds))
        super().__init__(f"This key sends more requests than it may; try again in {wait} s.")
        self.headers = {"retry-after": str(wait)}


class OverloadedError(ProblemError):
    """More is asked for than this worker can do in time, or more requests are at work than it takes on."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    kind = "overloaded"
    title = "Overloaded"
    headers: Mapping[str, str] = {"retry-after": "1"}

    def __init__(self) -> None:
        super().__init__("More is asked for than this worker can do; try again in a second.")


class DeadlineError(ProblemError):
    """The request was not answered within its time."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    kind = "deadline"
    title = "Deadline exceeded"
    headers: Mapping[str, str] = {"retry-after": "1"}

    def __init__(self) -> None:
        super().__init__("The request was not read and answered in time; try again in a second.")


class BankAwayError(ProblemError):
    """This answer needs the bank, which did not answer in time."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    kind = "bank-unavailable"
    title = "Bank unavailable"
    headers: Mapping[str, str] = {"retry-after": "1"}

    def __init__(self) -> None:
        super().__init__("The profile bank did not answer in time; try again in a second.")


class NotReadyError(ProblemError):
    """Something that serving needs is missing; `errors` says what."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    kind = "not-ready"
    title = "Not ready"

    def __init__(self, errors: Sequence[FieldProblem]) -> None:
        super().__init__("The service answers, but not as it should; see errors.", errors)


def problem_body(
    status: int,
    kind: str,
    title: str,
    *,
    detail: str,
    errors: Sequence[FieldProblem] = (),
    request_id: str,
) -> bytes:
    """Render one problem document."""
    document: dict[str, Any] = {
        "type": f"urn:userip:problem:{kind}",
        "title": title,
        "status": int(status),
        "detail": detail,
    }
    if errors:
        document["errors"] = [{"field": error.field, "problem": error.problem} for error in errors]
    if request_id:
        document["request_id"] = request_id
    return orjson.dumps(document)
