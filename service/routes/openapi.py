"""The OpenAPI document: FastAPI's own for the routes that it handles, and the message types for the hot ones.

The schemas of the hot routes are made from the very types that decode their bodies, limits included, so the
document cannot say something else than the code does.
"""

from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from userip.scoring.messages import BatchResponse, ScoreResponse
from userip.service.auth.access import SCHEME
from userip.service.errors import PROBLEM_JSON
from userip.service.routes.decoding import Decoders
from userip.service.routes.hot import BATCH, SCORE

_PROBLEM = "Problem"
KEYED = (401, 403, 429)  # what a route that wants a key can answer
_PROBLEM_SCHEMA: dict[str, Any] = {
    "title": _PROBLEM,
    "description": "RFC 9457. `errors` names the fields of a request that cannot be used.",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "problem": {"type": "string"}},
                "required": ["field", "problem"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["type", "title", "status", "detail"],
    "additionalProperties": False,
}
_MEANING = {
    400: "The body is not JSON.",
    401: "The key is missing or wrong.",
    403: "The key does not open this route.",
    404: "The release has no profile of this user.",
    409: "It cannot be done in the present state; nothing was changed.",
    413: "The body is too large.",
    415: "The body is compressed.",
    422: "A field is missing, unknown, of the wrong type, or over a limit.",
    429: "More requests than the key may send; Retry-After says when to try again.",
    500: "A fault of the service; its log has it under the request id.",
    503: "Too busy, or something that the answer needs is away; Retry-After says when to try again.",
}


def problem_docs(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can answer with these problems (and with 500)."""
    content = {PROBLEM_JSON: {"schema": {"$ref": f"#/components/schemas/{_PROBLEM}"}}}
    return {status: {"description": _MEANING[status], "content": content} for status in (*statuses, 500)}


class Application(FastAPI):
    """FastAPI behind the gate, which answers the hot routes itself; they are documented here all the same."""

    decoders: Decoders
    closed: bool = False  # the hot routes want a key
    gate: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything enters through the gate."""
        await self.gate(scope, receive, send)

    async def behind_the_gate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What the gate passes on."""
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The whole document, made once."""
        document = super().openapi()
        if SCORE not in document["paths"]:
            _add_hot_routes(document, self.decoders, closed=self.closed)
        return document


def _add_hot_routes(document: dict[str, Any], decoders: Decoders, *, closed: bool) -> None:
    score, batch = decoders.types
    refs, components = msgspec.json.schema_components(
        [score, batch, ScoreResponse, BatchResponse], ref_template="#/components/schemas/{name}"
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(components)
    schemas[_PROBLEM] = _PROBLEM_SCHEMA
    # FastAPI documents its own validation errors, which never leave this service.
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    hot = {
        SCORE: _operation("score", "Score candidates for one user", refs[0], refs[2]),
        BATCH: _operation("score_batch", "Score candidates for several users at once", refs[1], refs[3]),
    }
    if closed:
        document["components"].setdefault("securitySchemes", {})[SCHEME.scheme_name] = _scheme()
        for path in hot.values():
            path["post"]["security"] = [{SCHEME.scheme_name: ["score"]}]
            path["post"]["responses"] |= {str(status): text for status, text in problem_docs(*KEYED).items()}
    document["paths"] = hot | document["paths"]


def _scheme() -> dict[str, Any]:
    return SCHEME.model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _operation(name: str, summary: str, request: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    problems = {str(status): text for status, text in problem_docs(400, 413, 415, 422, 503).items()}
    answer = {"description": "Scores", "content": {"application/json": {"schema": response}}}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
            "responses": {"200": answer} | problems,
        }
    }
