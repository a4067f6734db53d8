"""`POST /score` and `POST /score/batch`: read bytes, decode, ask the dataplane, encode, send.

Plain ASGI endpoints: FastAPI's own handling of a request would take several times as long as the work.
Their part of the OpenAPI document comes from the same message types (`service.openapi`).
"""

from collections.abc import Callable
from typing import Any

import orjson
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from service.dataplane import Dataplane, Scored
from service.exchange import exchange_of
from service.messages import Decoders, decode

SCORE = "/score"
BATCH = "/score/batch"


class ScoreEndpoint:
    """One request, one answer."""

    def __init__(self, dataplane: Dataplane, decoders: Decoders) -> None:
        self._dataplane = dataplane
        self._decoder = decoders.score

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = exchange_of(scope)
        body = await _read_body(receive)
        if body is None:
            return
        request = decode(self._decoder, body)
        (answer,) = await self._dataplane.score([request], exchange.facts, batch=False)
        await _send_json(send, _plain(answer, exchange.facts.release))


class BatchEndpoint:
    """Several requests, one answer each, from one bank read and one run of the graph."""

    def __init__(self, dataplane: Dataplane, decoders: Decoders) -> None:
        self._dataplane = dataplane
        self._decoder = decoders.batch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = exchange_of(scope)
        body = await _read_body(receive)
        if body is None:
            return
        batch = decode(self._decoder, body)
        answers = await self._dataplane.score(batch.requests, exchange.facts, batch=True)
        release = exchange.facts.release
        await _send_json(send, {"responses": [_plain(answer, release) for answer in answers]})


def hot_routes(dataplane: Dataplane, decoders: Decoders) -> list[Route]:
    """The two routes, to stand before all others."""
    endpoints: list[tuple[str, Callable[..., Any]]] = [
        (SCORE, ScoreEndpoint(dataplane, decoders)),
        (BATCH, BatchEndpoint(dataplane, decoders)),
    ]
    return [Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints]


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, or None when the client left before it was sent."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        return body
    pieces = []
    while message["type"] == "http.request":
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)
        message = await receive()
    return None


def _plain(answer: Scored, release: str) -> dict[str, Any]:
    return {
        "user_id": answer.user_id,
        "release": release,
        "profile": answer.profile,
        "scores": answer.scores,  # float32 [N]: written with as few digits as give the same float32 back
        "unknown_items": answer.unknown_items,
    }


async def _send_json(send: Send, document: dict[str, Any]) -> None:
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    start: Message = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
