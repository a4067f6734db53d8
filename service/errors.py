"""Errors of the service room, and the one table from errors to HTTP problems (RFC 9457).

UserIPError
├── StartError             the service cannot start as configured; exit code 2
└── RequestError           (`scoring.errors`) a request cannot be answered; what scoring raises is listed there
    ├── MalformedBodyError    the body is not JSON
    ├── KeyRefusedError       the API key is not enough
    │   ├── UnauthorizedError    it is missing or wrong
    │   ├── ForbiddenError       it does not open this route
    │   ├── AdminOffError        no key opens it: none is set
    │   └── RateLimitedError     it sent more requests than its rate
    ├── ShedError             refused or given up under load
    │   ├── OverloadedError      it waited for its turn for too long, or all places were taken
    │   └── DeadlineError        no answer within `deadline_ms`
    ├── ConflictError         the operation cannot be done in the present state
    ├── BodyTooLargeError     more bytes than `max_body_bytes`
    ├── EncodedBodyError      the body is compressed
    └── NotReadyError         what `/readyz` says while something is missing
"""

import itertools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from userip.errors import UserIPError
from userip.scoring.errors import BankAwayError, InvalidRequestError, RequestError, UnknownUserError
from userip.scoring.messages import FieldProblem, Problem

PROBLEM_JSON: Final = "application/problem+json"


def in_sentence(text: str) -> str:
    """What a library says in a sentence of its own, to go on with one of ours."""
    return text[:1].lower() + text[1:]


class StartError(UserIPError):
    """The service cannot start. The message names the setting, file or bank, and the fix."""

    exit_code = 2


class MalformedBodyError(RequestError):
    """The body is not one JSON document in UTF-8."""

    def __init__(self, problem: str) -> None:
        super().__init__("The body is not a JSON document in UTF-8.", [FieldProblem("body", problem)])


class KeyRefusedError(RequestError):
    """The API key is not enough."""


class UnauthorizedError(KeyRefusedError):
    """The key is missing or wrong."""


class ForbiddenError(KeyRefusedError):
    """The key is right, and not for this."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"This route needs a key with the scope {scope}; this key does not have it.")


class ConflictError(RequestError):
    """The operation cannot be done in the present state; nothing was changed."""


class AdminOffError(KeyRefusedError):
    """An admin route of a service without keys."""

    def __init__(self) -> None:
        super().__init__("Admin routes are off; set USERIP_ADMIN_KEY, or USERIP_KEYS_FILE with an admin key in it.")


class BodyTooLargeError(RequestError):
    """The body has more bytes than the service reads."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The body is larger than {limit} bytes; send fewer candidates or requests at a time.",
            [FieldProblem("body", f"larger than {limit} bytes")],
        )


class EncodedBodyError(RequestError):
    """The body is compressed. Decompressing would let a few bytes become many."""

    def __init__(self) -> None:
        super().__init__(
            "Compressed bodies are not accepted; send it without Content-Encoding.",
            [FieldProblem("body", "has a Content-Encoding")],
        )


class RateLimitedError(KeyRefusedError):
    """One key sent more requests than its rate; `retry_after_s` says when it may again."""

    def __init__(self, seconds: float) -> None:
        self.retry_after_s = max(1, math.ceil(seconds))
        super().__init__(f"Rate limit of this key exceeded; retry in {self.retry_after_s} s.")


class ShedError(RequestError):
    """Refused or given up under load; `reason` is what the metrics call it."""

    reason: str


class OverloadedError(ShedError):
    """The worker is overloaded: the queue, the requests at work or the bodies coming are over its limits."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__("Overloaded; retry after the seconds of Retry-After.")


class DeadlineError(ShedError):
    """The request was not answered within its time."""

    reason = "deadline"

    def __init__(self) -> None:
        super().__init__("The request was not read and answered in time; retry after the seconds of Retry-After.")


class NotReadyError(RequestError):
    """Something that serving needs is missing; `errors` says what."""

    def __init__(self, errors: Sequence[FieldProblem]) -> None:
        super().__init__("The service answers, but not as it should; see errors.", errors)


class ProblemKind(NamedTuple):
    """How an error is told: status, the end of `urn:userip:problem:`, title, headers, and whether to retry soon."""

    status: int
    name: str
    title: str
    headers: tuple[tuple[str, str], ...] = ()
    soon: bool = False


_NUMBERS = itertools.count()


def retry_after_s() -> int:
    """Seconds for Retry-After, 1 to 3 in turn: clients that were refused together do not come back together."""
    return 1 + next(_NUMBERS) % 3


INTERNAL: Final = ProblemKind(500, "internal", "Internal error")
PROBLEMS: Final[dict[type[RequestError], ProblemKind]] = {
    MalformedBodyError: ProblemKind(400, "malformed-body", "Malformed body"),
    UnauthorizedError: ProblemKind(401, "unauthorized", "Unauthorized", (("www-authenticate", "ApiKey"),)),
    ForbiddenError: ProblemKind(403, "forbidden", "Forbidden"),
    AdminOffError: ProblemKind(403, "admin-off", "Admin routes are off"),
    UnknownUserError: ProblemKind(404, "unknown-user", "Unknown user"),
    ConflictError: ProblemKind(409, "conflict", "Conflict"),
    BodyTooLargeError: ProblemKind(413, "body-too-large", "Body too large"),
    EncodedBodyError: ProblemKind(415, "encoded-body", "Encoded body"),
    InvalidRequestError: ProblemKind(422, "invalid-request", "Invalid request"),
    RateLimitedError: ProblemKind(429, "rate-limited", "Too many requests"),
    OverloadedError: ProblemKind(503, "overloaded", "Overloaded", soon=True),
    DeadlineError: ProblemKind(503, "deadline", "Deadline exceeded", soon=True),
    BankAwayError: ProblemKind(503, "bank-unavailable", "Bank unavailable", soon=True),
    NotReadyError: ProblemKind(503, "not-ready", "Not ready"),
}


def problem_body(kind: ProblemKind, detail: str, request_id: str, errors: Sequence[FieldProblem] = ()) -> bytes:
    """Render one problem document."""
    return msgspec.json.encode(
        Problem(
            f"urn:userip:problem:{kind.name}",
            kind.title,
            kind.status,
            detail,
            list(errors) or msgspec.UNSET,
            request_id or msgspec.UNSET,
        )
    )
