"""The layers around the routes: names, limits in flight, access log, and faults that nobody caught."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from tests.fixtures.serving import Serve
from userip.service.http.middleware import Limits, RequestMiddleware
from userip.service.observe.log import AccessLog, make_logger
from userip.service.observe.metrics import Metrics


def lines(log: io.BytesIO, event: str) -> list[Mapping[str, Any]]:
    """The log's lines of one event."""
    found: list[Mapping[str, Any]] = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in found if line["event"] == event]


def test_request_id_is_kept_when_harmless_and_made_otherwise(client: TestClient) -> None:
    """A caller's id comes back; one that would not be safe in a log is replaced."""
    assert client.get("/healthz", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for bad in ("", "with space", "x" * 129, 'quo"te'):
        made = client.get("/healthz", headers={"x-request-id": bad}).headers["x-request-id"]
        assert made != bad
        assert len(made) == 16
    assert client.get("/healthz").headers["x-request-id"] != client.get("/healthz").headers["x-request-id"]


def test_access_log_holds_the_outcome_and_no_ids_of_people(client: TestClient, log: io.BytesIO) -> None:
    """One JSON line per request with route, status, time, candidates and profile; user ids stay out."""
    body = {"user_id": "nobody-0815", "item_ids": ["plain"]}
    client.post("/score", json=body, headers={"x-request-id": "r1"})
    client.get("/profile/nobody-0815")
    scored, looked_up = lines(log, "request")
    assert scored["ms"] > 0
    assert (scored["request_id"], scored["method"], scored["route"]) == ("r1", "POST", "/score")
    assert (scored["status"], scored["candidates"], scored["profiles"]) == (200, 1, ["default"])
    assert (looked_up["route"], looked_up["status"]) == ("/profile/{user_id}", 404)
    assert b"nobody-0815" not in log.getvalue()


def test_access_log_can_be_switched_off(serve: Serve, lmdb_url: str, log: io.BytesIO) -> None:
    """Other lines remain."""
    client = serve(lmdb_url, access_log_sample_rate=0)
    client.get("/healthz")
    assert lines(log, "request") == []
    assert lines(log, "serving")


def gated(app: ASGIApp, log: io.BytesIO, metrics: Metrics, *, in_flight: int = 10) -> ASGIApp:
    """`app` behind the middleware."""
    limits = Limits(in_flight=in_flight, body_bytes=1000, queue_s=0.005, deadline_s=10)
    logger = make_logger(stream=log)
    return RequestMiddleware(app, hot={}, limits=limits, metrics=metrics, log=logger, access_log=AccessLog(logger, 1))


def test_fault_becomes_500_without_a_trace_and_the_log_has_it(log: io.BytesIO) -> None:
    """The client learns the request id, the log the exception; the worker lives on."""

    def fault(_: Request) -> Response:
        raise RuntimeError("secret of the house")

    metrics = Metrics()
    app = Starlette(routes=[Route("/fault", fault)])
    # Starlette's own outermost layer answers faults too; ours must work on a bare application.
    client = TestClient(gated(app.router, log, metrics))
    response = client.get("/fault")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    (line,) = lines(log, "request failed")
    assert line["request_id"] == response.json()["request_id"]
    assert "RuntimeError: secret of the house" in line["exception"]
    assert b'status="500"' in metrics.render()


def test_requests_over_the_limit_are_shed_at_once(log: io.BytesIO) -> None:
    """A full worker answers 503 with Retry-After, still answers probes, and takes requests again later."""
    gate = asyncio.Event()

    async def slow(_: Request) -> Response:
        await gate.wait()
        return PlainTextResponse("done")

    async def probe(_: Request) -> Response:
        return PlainTextResponse("alive")

    metrics = Metrics()
    app = Starlette(routes=[Route("/slow", slow), Route("/healthz", probe)])
    layered = gated(app.router, log, metrics, in_flight=2)

    async def scenario() -> None:
        transport = httpx2.ASGITransport(layered)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            admitted = [asyncio.create_task(client.get("/slow")) for _ in range(2)]
            await asyncio.sleep(0.05)
            assert b"userip_in_flight 2.0" in metrics.render()
            shed = await client.get("/slow")
            assert (shed.status_code, shed.headers["retry-after"] in "123") == (503, True)
            assert shed.json()["type"] == "urn:userip:problem:overloaded"
            assert (await client.get("/healthz")).text == "alive"
            gate.set()
            assert [(await task).status_code for task in admitted] == [200, 200]
            assert (await client.get("/slow")).status_code == 200

    asyncio.run(scenario())
    text = metrics.render()
    assert b'userip_shed_total{reason="in_flight"} 1.0' in text
    assert b"userip_offered_work_seconds_total 0.0008\n" in text  # four, the refused one too, at 200 us
    assert b"userip_in_flight 0.0" in text


def test_client_that_leaves_is_counted_and_frees_its_place(log: io.BytesIO) -> None:
    """A cancelled request gives its place in flight back."""

    async def never(_: Request) -> Response:
        await asyncio.sleep(60)
        return PlainTextResponse("never")

    metrics = Metrics()
    layered = gated(Starlette(routes=[Route("/never", never)]).router, log, metrics, in_flight=1)

    async def scenario() -> None:
        transport = httpx2.ASGITransport(layered)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            for _ in range(3):
                task = asyncio.create_task(client.get("/never"))
                await asyncio.sleep(0.02)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(scenario())
    assert b'status="499"' in metrics.render()
    assert b"userip_in_flight 0.0" in metrics.render()
    assert b"userip_shed_total{" not in metrics.render()


def test_bodies_that_come_slowly_hold_no_place(serve: Serve, lmdb_url: str) -> None:
    """With as many unfinished bodies as there are places, a whole one is answered; finished late, so are they."""
    app = serve(lmdb_url, max_in_flight=2, deadline_ms=20_000, bank_deadline_ms=1000).app
    body = b'{"user_id": "u1", "item_ids": ["plain"]}'

    async def scenario() -> None:
        end = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield body[:5]
            await end.wait()
            yield body[5:]

        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            slow = [asyncio.create_task(client.post("/score", content=slowly())) for _ in range(10)]
            await asyncio.sleep(0.05)
            assert (await client.post("/score", content=body)).status_code == 200
            end.set()
            assert [(await task).status_code for task in slow] == [200] * 10

    asyncio.run(scenario())


def test_bodies_that_come_slowly_are_bounded_together(serve: Serve, lmdb_url: str) -> None:
    """When unfinished bodies fill what may be held of them, the next one gets 503; those before are answered."""
    app = serve(lmdb_url, max_in_flight=2, max_body_bytes=1000, deadline_ms=20_000).app
    body = b'{"user_id": "u1", "item_ids": ["plain"]}'.ljust(300)  # 2 places of 1000 bytes, a quarter: 500 bytes

    async def scenario() -> None:
        end = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield body[:280]
            await end.wait()
            yield body[280:]

        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            first = asyncio.create_task(client.post("/score", content=slowly()))
            await asyncio.sleep(0.05)
            shed = await client.post("/score", content=slowly())
            assert (shed.status_code, shed.headers["retry-after"] in "123") == (503, True)
            assert (await client.post("/score", content=body.rstrip())).status_code == 200
            end.set()
            assert (await first).status_code == 200
            again = await client.post("/score", content=slowly())
            assert again.status_code == 200
            text = (await client.get("/metrics")).text
            assert 'userip_shed_total{reason="bodies"} 1.0' in text

    asyncio.run(scenario())


def test_body_of_any_route_has_to_come_in_time(serve: Serve, lmdb_url: str) -> None:
    """An operator's order whose body does not end is given up at the deadline, one that is too large at once; neither
    leaves a place taken."""
    key, limits = (
        "an-admin-key-of-the-test",
        {"deadline_ms": 200, "bank_deadline_ms": 100, "max_in_flight": 1, "max_body_bytes": 1000},
    )
    app = serve(lmdb_url, admin_key=key, **limits).app
    headers = {"x-api-key": key, "content-type": "application/json"}

    async def scenario() -> None:
        async def never() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(60)

        async def large() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b" " * 500

        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            late = await asyncio.wait_for(client.post("/admin/reload", content=never()), 10)
            assert (late.status_code, late.headers["retry-after"] in "123") == (503, True)
            assert late.json()["type"] == "urn:userip:problem:deadline"
            assert (await client.post("/admin/reload", content=large())).status_code == 413
            assert (await client.post("/admin/reload", content=b"{}")).status_code == 200

    asyncio.run(scenario())
