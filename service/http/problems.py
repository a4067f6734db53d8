"""How errors become answers: the handlers that the application registers, all through one renderer."""

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from userip.scoring.errors import FieldProblem, InvalidRequestError, RequestError
from userip.service.errors import INTERNAL, PROBLEM_JSON, PROBLEMS, Problem, RateLimitedError, problem_body
from userip.service.observe.request_record import exchange_of

_DETAILS = {
    404: "Not found.",
    405: "Method not allowed; the Allow header names those that are.",
}


def problem_response(error: RequestError, scope: Scope) -> Response:
    """The answer that tells a client of `error`."""
    problem = PROBLEMS[type(error)]
    if isinstance(error, RateLimitedError):
        problem = problem._replace(headers=(("retry-after", str(error.retry_after_s)),))
    return _response(problem, error.detail, exchange_of(scope).request_id, error.errors)


def internal_problem(request_id: str) -> Response:
    """The answer to a request that hit a bug: nothing but the id under which the log has the rest."""
    return _response(INTERNAL, "The request failed; the log has it.", request_id)


def register(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document."""
    app.add_exception_handler(RequestError, _of_request)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(Exception, _of_fault)


async def _of_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return problem_response(error, request.scope)


async def _of_http(request: Request, error: Exception) -> Response:
    """Routing's own answers: 404 for a path, 405 for a method. What was raised inside a body stays what it was."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, RequestError):
        return problem_response(error.__cause__, request.scope)
    status = HTTPStatus(error.status_code)
    headers = tuple((error.headers or {}).items())
    problem = Problem(status, status.phrase.lower().replace(" ", "-"), status.phrase, headers)
    return _response(problem, _DETAILS.get(status, status.phrase), exchange_of(request.scope).request_id)


async def _of_validation(request: Request, error: Exception) -> Response:
    """What pydantic found on the routes that use it."""
    assert isinstance(error, RequestValidationError)
    problems = []
    for item in error.errors():
        place = [str(part) for part in item["loc"] if part not in ("body", "path", "query", "header")]
        problems.append(FieldProblem(".".join(place) or "body", str(item["msg"])))
    return problem_response(InvalidRequestError(problems), request.scope)


async def _of_fault(request: Request, _: Exception) -> Response:
    """A bug: the middleware logs it."""
    return internal_problem(exchange_of(request.scope).request_id)


def _response(problem: Problem, detail: str, request_id: str, errors: Sequence[FieldProblem] = ()) -> Response:
    return Response(
        problem_body(problem, detail, request_id, errors),
        status_code=problem.status,
        headers=dict(problem.headers),
        media_type=PROBLEM_JSON,
    )
