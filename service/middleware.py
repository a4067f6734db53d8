"""The layers around the routes, in plain ASGI: a `BaseHTTPMiddleware` would cost more than the scoring.

Observed    outermost: request id, metrics, access log, and a problem document for whatever nobody caught
Limited     requests in flight, body size while it streams in, no compressed bodies
"""

import re
import secrets
import time
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from service.errors import BodyTooLargeError, EncodedBodyError, OverloadedError
from service.exchange import Exchange, exchange_of, put_exchange
from service.metrics import Metrics
from service.problems import internal_problem, problem_response

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# These answer however busy the worker is: who watches it must not be shed.
_NEVER_SHED = frozenset({"/healthz", "/readyz", "/metrics"})
CLIENT_CLOSED = 499  # the client left before the answer; the number that nginx made common


class Observed:
    """Names, times, counts and logs every request, and turns a bug into a 500 without a stack trace."""

    def __init__(self, app: ASGIApp, metrics: Metrics, log: FilteringBoundLogger, *, access_log: bool) -> None:
        self.app = app
        self._metrics = metrics
        self._log = log
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one HTTP request on; leave other scopes alone."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(_request_id(scope["headers"]), time.perf_counter(), scope["method"])
        put_exchange(scope, exchange)
        header = (b"x-request-id", exchange.request_id.encode())

        async def send_noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        self._metrics.entered()
        try:
            await self.app(scope, receive, send_noting)
        except Exception:
            self._log.exception("request failed", request_id=exchange.request_id, route=_route(scope))
            if exchange.status == 0:
                await internal_problem(exchange.request_id)(scope, receive, send_noting)
        finally:
            exchange.status = exchange.status or CLIENT_CLOSED
            exchange.route = _route(scope)
            seconds = time.perf_counter() - exchange.started
            self._metrics.observe(exchange, seconds)
            if self._access_log:
                self._write_line(exchange, seconds)

    def _write_line(self, exchange: Exchange, seconds: float) -> None:
        facts = exchange.facts
        self._log.info(
            "request",
            request_id=exchange.request_id,
            method=exchange.method,
            route=exchange.route,
            status=exchange.status,
            ms=round(seconds * 1000, 3),
            candidates=facts.candidates,
            profiles=facts.outcomes if len(facts.outcomes) < 2 else _tally(facts.outcomes),
            **({"bank_failure": facts.bank_failure} if facts.bank_failure else {}),
        )


class Limited:
    """Refuses what the worker should not take on, before it costs anything."""

    def __init__(self, app: ASGIApp, *, max_in_flight: int, max_body_bytes: int) -> None:
        self.app = app
        self._max_in_flight = max_in_flight
        self._max_body_bytes = max_body_bytes
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one HTTP request on; leave other scopes alone."""
        if scope["type"] != "http" or scope["path"] in _NEVER_SHED:
            await self.app(scope, receive, send)
            return
        if self._in_flight >= self._max_in_flight:
            exchange_of(scope).shed = True
            await problem_response(OverloadedError(), scope)(scope, receive, send)
            return
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value[:20]) > self._max_body_bytes:
                await problem_response(BodyTooLargeError(self._max_body_bytes), scope)(scope, receive, send)
                return
            if name == b"content-encoding" and value.lower() != b"identity":
                await problem_response(EncodedBodyError(), scope)(scope, receive, send)
                return
        left = self._max_body_bytes

        async def receive_counting() -> Message:
            nonlocal left
            message = await receive()
            if message["type"] == "http.request":
                left -= len(message.get("body", b""))
                if left < 0:  # the handler of problems renders it: the routes read the body inside that
                    raise BodyTooLargeError(self._max_body_bytes)
            return message

        self._in_flight += 1
        try:
            await self.app(scope, receive_counting, send)
        finally:
            self._in_flight -= 1


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's own id if it is harmless in a log, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return secrets.token_hex(8)


def _route(scope: Scope) -> str:
    """The pattern of the route that matched. Never a path that holds an id."""
    if (route := scope.get("route")) is not None:
        return str(route.path_format)
    if "endpoint" in scope and not scope.get("path_params"):
        return str(scope["path"])  # a route of starlette's own kind without parameters: its path is its pattern
    return "unmatched"


def _tally(outcomes: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts
