"""How errors become answers: one renderer; the 503 of an overloaded worker is bytes made in advance."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from userip.scoring.errors import RequestError
from userip.scoring.messages import FieldProblem
from userip.service.errors import (
    INTERNAL,
    PROBLEM_JSON,
    PROBLEMS,
    KeyRefusedError,
    OverloadedError,
    ProblemKind,
    RateLimitedError,
    ShedError,
    problem_body,
    retry_after_s,
)
from userip.service.observe.request_record import record_of

# On every answer: nobody guesses another type, and no cache keeps what a model infers about a person.
HARDENED: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
_DETAILS: Final = {404: "Not found.", 405: "Method not allowed; see the Allow header."}
_OVERLOADED: Final = PROBLEMS[OverloadedError]
_BEFORE_ID, _AFTER_ID = problem_body(_OVERLOADED, OverloadedError("queue").detail, "REQUEST").split(b"REQUEST")
_OVERLOADED_HEAD: Final = b"".join(
    [
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: %b\r\n" % PROBLEM_JSON.encode(),
        *(b"%b: %b\r\n" % header for header in HARDENED),
    ]
)


def overloaded(request_id: str, *, head_only: bool, close: bool) -> bytes:
    """The whole 503 of OverloadedError as it goes on the wire. With next to no work: how many can be refused in time
    decides how many are answered in time."""
    name = request_id.encode()
    return b"%bretry-after: %d\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n%b" % (
        _OVERLOADED_HEAD,
        retry_after_s(),
        len(_BEFORE_ID) + len(name) + len(_AFTER_ID),
        name,
        b"connection: close\r\n" if close else b"",
        b"" if head_only else _BEFORE_ID + name + _AFTER_ID,
    )


def problem_response(error: RequestError, scope: Scope) -> Response:
    """The answer that tells a client of `error`; the record of the request is told why it was refused."""
    record, problem = record_of(scope), PROBLEMS[type(error)]
    if isinstance(error, ShedError):
        record.shed = error.reason
    elif isinstance(error, KeyRefusedError):
        record.refused = problem.name.replace("-", "_")
    if isinstance(error, RateLimitedError):
        problem = problem._replace(headers=(("retry-after", str(error.retry_after_s)),))
    return _response(problem, error.detail, record.request_id, error.errors)


def internal_problem(request_id: str) -> Response:
    """The answer to a request that hit a bug: nothing but the id under which the log has the rest."""
    return _response(INTERNAL, "Internal error; see the log of the service by request id.", request_id)


def register(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document."""
    app.add_exception_handler(RequestError, _of_request)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_fault)


async def _of_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return problem_response(error, request.scope)


async def _of_http(request: Request, error: Exception) -> Response:
    """Routing's own answers: 404 for a path, 405 for a method."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    headers = tuple((error.headers or {}).items())
    problem = ProblemKind(status, status.phrase.lower().replace(" ", "-"), status.phrase, headers)
    return _response(problem, _DETAILS.get(status, status.phrase), record_of(request.scope).request_id)


async def _of_fault(request: Request, _: Exception) -> Response:
    """A bug: the middleware logs it."""
    return internal_problem(record_of(request.scope).request_id)


def _response(problem: ProblemKind, detail: str, request_id: str, errors: Sequence[FieldProblem] = ()) -> Response:
    return Response(
        problem_body(problem, detail, request_id, errors),
        status_code=problem.status,
        headers=dict(problem.headers) | ({"retry-after": str(retry_after_s())} if problem.soon else {}),
        media_type=PROBLEM_JSON,
    )
