"""`POST /score` and `POST /score/batch`: decode a body, ask the dataplane, encode the answer.

`service.http.middleware` hands them bodies directly: FastAPI's own handling of a request would take several times as
long as the work. Their part of the OpenAPI document comes from the same message types (`service.routes.openapi`).
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from userip.scoring.dataplane import Dataplane, Scored
from userip.scoring.lookup.profiles import Pending
from userip.service.http.hot import Content, HotRoute
from userip.service.observe.request_record import RequestRecord
from userip.service.routes.decoding import Decoders, decode

T = TypeVar("T")
Document = Callable[[Sequence[Scored], str], dict[str, Any]]  # of the answers, and the release's name
SCORE = "/score"
BATCH = "/score/batch"


def hot_routes(dataplane: Dataplane, decoders: Decoders) -> dict[str, HotRoute]:
    """Who answers a POST at which path."""

    def score(body: bytes, record: RequestRecord) -> Content:
        """One request, one answer."""
        requests = [_decode(decoders.score, body, record)]
        return _encoded(dataplane.begin(requests, record, batch=False), record, _single)

    def batch(body: bytes, record: RequestRecord) -> Content:
        """Several requests, one answer each, from one bank read and one run of the graph."""
        requests = _decode(decoders.batch, body, record).requests
        return _encoded(dataplane.begin(requests, record, batch=True), record, _several)

    return {route.path: route for route in (HotRoute(SCORE, "score", score), HotRoute(BATCH, "score", batch))}


def _encoded(scored: Pending[Scored], record: RequestRecord, document: Document) -> Content:
    if isinstance(scored, list):
        return _encode(document(scored, record.release), record)

    async def later() -> bytes:
        return _encode(document(await scored, record.release), record)

    return later()


def _single(answers: Sequence[Scored], release: str) -> dict[str, Any]:
    return _plain(answers[0], release)


def _several(answers: Sequence[Scored], release: str) -> dict[str, Any]:
    return {"responses": [_plain(answer, release) for answer in answers]}


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
