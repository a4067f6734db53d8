"""How errors become answers: the handlers that the application registers, all through one renderer."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from userip.service.errors import PROBLEM_JSON, FieldProblem, InvalidRequestError, ProblemError, problem_body
from userip.service.observe.request_record import exchange_of


def problem_response(error: ProblemError, scope: Scope) -> Response:
    """The answer that tells a client of `error`."""
    return Response(
        problem_body(
            error.status,
            error.kind,
            error.title,
            detail=error.detail,
            errors=error.errors,
            request_id=exchange_of(scope).request_id,
        ),
        status_code=error.status,
        headers=dict(error.headers),
        media_type=PROBLEM_JSON,
    )


def internal_problem(request_id: str) -> Response:
    """The answer to a request that hit a bug: nothing but the id under which the log has the rest."""
    body = problem_body(
        500, "internal", "Internal error", detail="The request failed; the log has it.", request_id=request_id
    )
    return Response(body, status_code=500, media_type=PROBLEM_JSON)


def register(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document."""
    app.add_exception_handler(ProblemError, _of_problem)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(Exception, _of_fault)


async def _of_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem_response(error, request.scope)


async def _of_http(request: Request, error: Exception) -> Response:
    """Routing's own answers: 404 for a path, 405 for a method. What the gate raised in a body stays what it was."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ProblemError):
        return problem_response(error.__cause__, request.scope)
    title = HTTPStatus(error.status_code).phrase
    details = {
        404: "There is nothing at this path.",
        405: "This path does not take this method; the Allow header names those it takes.",
    }
    body = problem_body(
        error.status_code,
        title.lower().replace(" ", "-"),
        title,
        detail=details.get(error.status_code, title),
        request_id=exchange_of(request.scope).request_id,
    )
    return Response(body, status_code=error.status_code, headers=dict(error.headers or {}), media_type=PROBLEM_JSON)


async def _of_validation(request: Request, error: Exception) -> Response:
    """What pydantic found on the routes that use it."""
    assert isinstance(error, RequestValidationError)
    return problem_response(InvalidRequestError([_field(item) for item in error.errors()]), request.scope)


async def _of_fault(request: Request, _: Exception) -> Response:
    """A bug: the gate logs it."""
    return internal_problem(exchange_of(request.scope).request_id)


def _field(item: Mapping[str, Any]) -> FieldProblem:
    place = [str(part) for part in item["loc"] if part not in ("body", "path", "query", "header")]
    return FieldProblem(".".join(place) or "body", str(item["msg"]))
