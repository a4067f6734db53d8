"""`POST /score` and `POST /score/batch`: decode a body, ask the dataplane, encode the answer.

`service.http.middleware` hands them bodies directly: FastAPI's own handling of a request would take several times as
long as the work. Their part of the OpenAPI document comes from the same message types (`service.routes.openapi`).
"""

import time
from typing import Any, Final, TypeVar

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from userip.scoring.dataplane import Dataplane, Scored
from userip.service.http.middleware import HotRoute
from userip.service.observe.request_record import RequestRecord
from userip.service.routes.decoding import Decoders, decode

T = TypeVar("T")
SCORE = "/score"
BATCH = "/score/batch"


def hot_routes(dataplane: Dataplane, decoders: Decoders) -> dict[str, HotRoute]:
    """Who answers a POST at which path."""

    async def score(body: bytes, record: RequestRecord) -> bytes:
        """One request, one answer."""
        request = _decode(decoders.score, body, record)
        (answer,) = await dataplane.score([request], record, batch=False)
        return _encode(_plain(answer, record.release), record)

    async def batch(body: bytes, record: RequestRecord) -> bytes:
        """Several requests, one answer each, from one bank read and one run of the graph."""
        requests = _decode(decoders.batch, body, record).requests
        answers = await dataplane.score(requests, record, batch=True)
        return _encode({"responses": [_plain(answer, record.release) for answer in answers]}, record)

    return {SCORE: score, BATCH: batch}


def _never(_: Request) -> Response:
    raise AssertionError("the middleware answers a POST here")


# The same paths for the router, which answers what is no POST: 405 with the method that is meant.
OTHER_METHODS: Final = [Route(path, _never, methods=["POST"]) for path in (SCORE, BATCH)]


def _plain(answer: Scored, release: str) -> dict[str, Any]:
    return {
        "user_id": answer.user_id,
        "release": release,
        "profile": answer.profile,
        "scores": answer.scores,  # float32 [N]: written with as few digits as give the same float32 back
        "unknown_items": answer.unknown_items,
    }


def _decode(decoder: "msgspec.json.Decoder[T]", body: bytes, record: RequestRecord) -> T:
    started = time.perf_counter()
    message = decode(decoder, body)
    record.stages["decode"] = time.perf_counter() - started
    return message


def _encode(document: dict[str, Any], record: RequestRecord) -> bytes:
    started = time.perf_counter()
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    record.encoded = time.perf_counter()
    record.stages["encode"] = record.encoded - started
    return body
