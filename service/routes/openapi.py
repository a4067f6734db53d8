"""The OpenAPI document: the paths are FastAPI's, the hot ones aside; the schemas are those of `scoring.messages`.

They are made from the very types that decode bodies and are encoded as answers, limits included, so the document
cannot say something else than the code does.
"""

from typing import Any

import msgspec
from fastapi import FastAPI
from msgspec import Struct

from userip.scoring.messages import MESSAGES, BatchResponse, ScoreResponse
from userip.service.auth.access import SCHEME
from userip.service.errors import PROBLEM_JSON
from userip.service.routes.decoding import Decoders
from userip.service.routes.score import BATCH, SCORE

KEYED = (401, 403, 429)  # what a route that wants a key can answer
_MEANING = {
    400: "The body is not JSON.",
    401: "The key is missing or wrong.",
    403: "The key lacks the scope of this route.",
    404: "The release has no profile of this user.",
    409: "Not possible in the present state; nothing was changed.",
    413: "The body is too large.",
    415: "The body is compressed.",
    422: "A field is missing, unknown, of the wrong type, or over a limit.",
    429: "Rate limit of the key exceeded; Retry-After says when to try again.",
    500: "Internal error; see the log of the service by request id.",
    503: "Overloaded, or the bank fails; Retry-After says when to try again.",
}


def problem_docs(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can answer with these problems (and with 500)."""
    content = {PROBLEM_JSON: {"schema": _ref("Problem")}}
    return {status: {"description": _MEANING[status], "content": content} for status in (*statuses, 500)}


def answer_docs(answer: type[Struct], *problems: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers so, or with these problems (and with 500)."""
    answered = {"description": "Successful Response", "content": _json(_ref(answer.__name__))}
    return {200: answered} | (problem_docs(*problems) if problems else {})


def body_docs(request: type[Struct]) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes such a body, or none."""
    schema = {"anyOf": [_ref(request.__name__), {"type": "null"}]}
    return {"requestBody": {"content": _json(schema)}}


def document_messages(app: FastAPI, decoders: Decoders, *, keyed: bool) -> None:
    """Extend the document of `app` by the hot routes, which want a key where `keyed`, and by the message types."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()  # once; the same object every time
        if SCORE not in document["paths"]:
            _extend(document, decoders, keyed=keyed)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend its document


def _extend(document: dict[str, Any], decoders: Decoders, *, keyed: bool) -> None:
    types = [*decoders.types, *MESSAGES]
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(components)
    # FastAPI documents its own validation errors, which never leave this service.
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    score, batch = decoders.types
    hot = {
        SCORE: _operation("score", "Score candidates for one user", score, ScoreResponse),
        BATCH: _operation("score_batch", "Score candidates for several users at once", batch, BatchResponse),
    }
    if keyed:
        document["components"].setdefault("securitySchemes", {})[SCHEME.scheme_name] = _scheme()
        for path in hot.values():
            path["post"]["security"] = [{SCHEME.scheme_name: ["score"]}]
            path["post"]["responses"] |= {str(status): text for status, text in problem_docs(*KEYED).items()}
    document["paths"] = hot | document["paths"]


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _scheme() -> dict[str, Any]:
    return SCHEME.model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _operation(name: str, summary: str, request: type[Struct], response: type[Struct]) -> dict[str, Any]:
    responses = answer_docs(response, 400, 413, 415, 422, 503)
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "requestBody": {"required": True, "content": _json(_ref(request.__name__))},
            "responses": {str(status): text for status, text in responses.items()},
        }
    }
