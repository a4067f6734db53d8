"""`POST /score` and `POST /score/batch`: decode a body, ask the dataplane, encode the answer.

`service.http.middleware.Gate` hands them bodies directly: FastAPI's own handling of a request would take several times
as long as the work. Their part of the OpenAPI document comes from the same message types (`service.routes.openapi`).
"""

import time
from typing import Any, TypeVar

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from userip.scoring.dataplane import Dataplane, Facts, Scored
from userip.service.http.middleware import Answer
from userip.service.observe.request_record import Exchange
from userip.service.routes.decoding import Decoders, decode

T = TypeVar("T")
SCORE = "/score"
BATCH = "/score/batch"


def hot_answers(dataplane: Dataplane, decoders: Decoders) -> dict[str, Answer]:
    """Who answers a POST at which path."""

    async def score(body: bytes, exchange: Exchange) -> bytes:
        """One request, one answer."""
        facts = exchange.facts
        request = _decode(decoders.score, body, facts)
        (answer,) = await dataplane.score([request], facts, batch=False)
        return _encode(_plain(answer, facts.release), facts)

    async def batch(body: bytes, exchange: Exchange) -> bytes:
        """Several requests, one answer each, from one bank read and one run of the graph."""
        facts = exchange.facts
        requests = _decode(decoders.batch, body, facts).requests
        answers = await dataplane.score(requests, facts, batch=True)
        return _encode({"responses": [_plain(answer, facts.release) for answer in answers]}, facts)

    return {SCORE: score, BATCH: batch}


def hot_routes() -> list[Route]:
    """The same paths for the router, which answers what is no POST: 405 with the method that is meant."""

    async def never(_: Request) -> Response:
        raise AssertionError("the gate answers a POST here")

    return [Route(path, never, methods=["POST"]) for path in (SCORE, BATCH)]


def _plain(answer: Scored, release: str) -> dict[str, Any]:
    return {
        "user_id": answer.user_id,
        "release": release,
        "profile": answer.profile,
        "scores": answer.scores,  # float32 [N]: written with as few digits as give the same float32 back
        "unknown_items": answer.unknown_items,
    }


def _decode(decoder: "msgspec.json.Decoder[T]", body: bytes, facts: Facts) -> T:
    started = time.perf_counter()
    message = decode(decoder, body)
    facts.stages["decode"] = time.perf_counter() - started
    return message


def _encode(document: dict[str, Any], facts: Facts) -> bytes:
    started = time.perf_counter()
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    facts.encoded = time.perf_counter()
    facts.stages["encode"] = facts.encoded - started
    return body
