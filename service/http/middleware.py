"""The one layer around everything, in plain ASGI: a `BaseHTTPMiddleware` would cost more than the scoring.

It names, counts, times and logs every request, refuses what the worker should not take on
(`service.overload.admission`; most
of that before there is a task, in `service.http.protocol`), hands the bodies of the hot routes straight to those who
answer them, and passes everything else on to FastAPI.
"""

import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from userip.scoring.errors import RequestError
from userip.service.auth.access import Guard
from userip.service.errors import (
    PROBLEM_JSON,
    PROBLEMS,
    BodyTooLargeError,
    DeadlineError,
    EncodedBodyError,
    OverloadedError,
    problem_body,
)
from userip.service.http.draining import Drain
from userip.service.http.problems import internal_problem, problem_response
from userip.service.observe.metrics import Metrics
from userip.service.observe.request_record import Exchange, put_exchange
from userip.service.observe.tracing import Trace
from userip.service.overload.admission import Admission
from userip.service.overload.deadlines import Deadlines
from userip.service.settings import Settings

Answer = Callable[[bytes, Exchange], Awaitable[bytes]]  # a JSON body in, a JSON body out; raises RequestError

CLIENT_CLOSED = 499  # the client left before the answer; the number that nginx made common
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# These answer however busy the worker is: who watches it must not be shed.
_NEVER_SHED = frozenset({"/healthz", "/readyz", "/metrics"})
ADMITTED: Final = "userip.admitted"  # in the scope of a request that was taken on when it was read
# Nobody guesses another type, and no cache keeps what a model infers about a person.
_HARDENED = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
_OVERLOADED = PROBLEMS[OverloadedError]
_REFUSED = problem_body(_OVERLOADED, OverloadedError().detail, "REQUEST").split(b"REQUEST")
REFUSED_HEADERS = (
    (b"content-type", PROBLEM_JSON.encode()),
    *((name.encode(), value.encode()) for name, value in _OVERLOADED.headers),
    *_HARDENED,
)
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")  # a client that keeps its connection would stay with a worker that leaves


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker takes on; see `Settings` for the meaning of each."""

    in_flight: int
    body_bytes: int
    queue_s: float
    deadline_s: float

    @property
    def coming_bytes(self) -> int:
        """Of bodies that are still coming, together: a quarter of the largest ones in every place."""
        return self.in_flight * self.body_bytes // 4

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The limits that are set."""
        return cls(
            settings.max_in_flight, settings.max_body_bytes, settings.max_queue_ms / 1000, settings.deadline_ms / 1000
        )


class Gate:
    """What every request passes first. `hot`: path -> who answers a POST there."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hot: Mapping[str, Answer],
        limits: Limits,
        metrics: Metrics,
        log: FilteringBoundLogger,
        access_log: float,
        drain: Drain | None = None,
        guard: Guard | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.app = app
        self._hot = hot
        self._limits = limits
        self._metrics = metrics
        self._log = log
        self._access_log = access_log
        self._drain = drain or Drain()
        self._keyed = guard if guard is not None and guard.has_keys else None
        self._closed = guard if guard is not None and guard.closed else None
        self._trace = trace
        self._unlogged = 0.0
        self._admission = Admission(limits.in_flight, limits.queue_s)
        self._coming_bytes = 0
        self._deadlines = Deadlines(limits.deadline_s)
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or pass it on; leave other scopes alone."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        if ADMITTED not in scope and (reason := self.overload(scope["path"], started)) is not None:
            await self._refuse(reason, scope, send)
            return
        exchange = Exchange(self._name(scope["headers"]), started, scope["method"])
        put_exchange(scope, exchange)
        self._metrics.entered()
        try:
            self._admit(scope)
            answer = self._hot.get(scope["path"]) if scope["method"] == "POST" else None
            if answer is not None:
                exchange.route = scope["path"]
                if self._closed is not None:
                    self._closed.identify(scope["headers"], exchange)
                    self._closed.require("score", exchange)
                await self._answer(answer, exchange, receive, send)
            else:
                await self._pass_on(scope, exchange, receive, send)
        except RequestError as error:
            await problem_response(error, scope)(scope, receive, _noting(exchange, send))
        except Exception:
            self._log.exception("request failed", request_id=exchange.request_id, route=_route(scope, exchange))
            if exchange.status == 0:
                await internal_problem(exchange.request_id)(scope, receive, _noting(exchange, send))
        finally:
            exchange.status = exchange.status or CLIENT_CLOSED
            exchange.route = _route(scope, exchange)
            seconds = time.perf_counter() - started
            self._metrics.observe(exchange, seconds)
            if exchange.facts.encoded and exchange.status == 200:
                stages = exchange.facts.stages
                self._admission.learn(seconds, sum(stages.values()), stages.get("lookup", 0.0))
            if self._trace is not None:
                self._trace(scope["headers"], exchange, seconds)
            self._unlogged += self._access_log
            if self._unlogged >= 1 or (exchange.status == 500 and self._access_log):
                self._unlogged %= 1
                self._write_line(exchange, seconds)

    def _name(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The caller's own id if it is harmless in a log, else a new one."""
        for name, value in headers:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                return value.decode()
        return f"{self._prefix}{next(self._numbers) & 0xFFFFFFFF:08x}"

    def overload(self, path: str, now: float) -> str | None:
        """Why a request that was read at `now` cannot be taken on, if so. Ask once: who is not refused counts."""
        if path in _NEVER_SHED:
            return None
        self._metrics.asked(self._admission.cost_s)
        return self._admission.refuses(now)

    @property
    def body_bytes(self) -> int:
        """How long a body may be."""
        return self._limits.body_bytes

    @property
    def leaves(self) -> bool:
        """Whether this worker is about to end, so that connections should not be kept."""
        return self._drain.begun

    def refusal(
        self, reason: str, path: str, method: str, headers: Iterable[tuple[bytes, bytes]]
    ) -> tuple[bytes, bytes]:
        """The request's id and the body of its 503; counts it. With next to no work: how many can be refused in time
        decides how many are answered in time."""
        self._metrics.refused(path if path in self._hot else "unmatched", method, reason)
        name = self._name(headers).encode()
        return name, _REFUSED[0] + name + _REFUSED[1]

    async def _refuse(self, reason: str, scope: Scope, send: Send) -> None:
        name, body = self.refusal(reason, scope["path"], scope["method"], scope["headers"])
        headers = [*REFUSED_HEADERS, (b"content-length", b"%d" % len(body)), (b"x-request-id", name)]
        if self.leaves:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _admit(self, scope: Scope) -> None:
        """Refuse bodies that are too large or compressed before they are read."""
        if scope["path"] in _NEVER_SHED:
            return
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value[:20]) > self._limits.body_bytes:
                raise BodyTooLargeError(self._limits.body_bytes)
            if name == b"content-encoding" and value.lower() != b"identity":
                raise EncodedBodyError

    async def _answer(self, answer: Answer, exchange: Exchange, receive: Receive, send: Send) -> None:
        """Read the body, have it answered, both within the deadline, and send what comes."""
        try:
            with self._deadlines.guard(exchange.started):
                body = await self._read_body(receive, exchange)
                if body is None:
                    return
                self._begin(exchange)
                try:
                    content = await answer(body, exchange)
                finally:
                    self._admission.end()
        except TimeoutError:
            exchange.shed = "deadline"
            raise DeadlineError from None
        headers = [_JSON, (b"content-length", b"%d" % len(content)), (b"x-request-id", exchange.request_id.encode())]
        headers += _HARDENED
        if self.leaves:
            headers.append(_CLOSE)
        exchange.status = 200
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _begin(self, exchange: Exchange) -> None:
        """Take a place. Raises OverloadedError when those who were read at the same time have taken the last ones."""
        if self._admission.is_full:
            exchange.shed = "in_flight"
            raise OverloadedError
        self._admission.begin()

    async def _read_body(self, receive: Receive, exchange: Exchange) -> bytes | None:
        """The whole body, or None when the client left before it was sent. Raises BodyTooLargeError as it comes."""
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > self._limits.body_bytes:
                raise BodyTooLargeError(self._limits.body_bytes)
            return body
        return await self._read_pieces(message, receive, exchange)

    async def _read_pieces(self, message: Message, receive: Receive, exchange: Exchange) -> bytes | None:
        """The same for a body that is still coming. Bodies that come slowly, or never end, are bounded by the deadline
        and in their bytes together; they hold no place of the requests at work."""
        body = bytearray()
        try:
            while message["type"] == "http.request":
                piece = message.get("body", b"")
                body += piece
                self._coming_bytes += len(piece)
                if len(body) > self._limits.body_bytes:
                    raise BodyTooLargeError(self._limits.body_bytes)
                if not message.get("more_body", False):
                    return bytes(body)
                if self._coming_bytes > self._limits.coming_bytes:
                    exchange.shed = "bodies"
                    raise OverloadedError
                message = await receive()
            return None
        finally:
            self._coming_bytes -= len(body)

    async def _pass_on(self, scope: Scope, exchange: Exchange, receive: Receive, send: Send) -> None:
        left, comes = self._limits.body_bytes, True

        async def receive_bounded() -> Message:
            """The body within its bytes and the deadline; how long it is worked on is the route's own affair."""
            nonlocal left, comes
            if not comes:
                return await receive()
            try:
                with self._deadlines.guard(exchange.started):
                    message = await receive()
            except TimeoutError:
                exchange.shed = "deadline"
                raise DeadlineError from None
            comes = message["type"] == "http.request" and message.get("more_body", False)
            left -= len(message.get("body", b""))
            if left < 0:
                raise BodyTooLargeError(self._limits.body_bytes)
            return message

        watched = scope["path"] not in _NEVER_SHED
        if watched and self._keyed is not None:
            self._keyed.identify(scope["headers"], exchange)
        if not watched:
            await self.app(scope, receive_bounded, _noting(exchange, send))
            return
        self._begin(exchange)
        try:
            await self.app(scope, receive_bounded, _noting(exchange, send))
        finally:
            self._admission.end()

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
            **({"key": exchange.key.id} if exchange.key is not None else {}),
            **({"refused": exchange.refused} if exchange.refused else {}),
            **({"shed": exchange.shed} if exchange.shed else {}),
            **({"bank_failure": facts.bank_failure} if facts.bank_failure else {}),
        )


def _noting(exchange: Exchange, send: Send) -> Send:
    """`send` that notes the status and adds the request's name."""

    async def send_noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            name = (b"x-request-id", exchange.request_id.encode())
            message["headers"] = [*message.get("headers", ()), name, *_HARDENED]
        await send(message)

    return send_noting


def _route(scope: Scope, exchange: Exchange) -> str:
    """The pattern of the route that matched. Never a path that holds an id."""
    if (route := scope.get("route")) is not None:
        return str(route.path_format)
    if "endpoint" in scope and not scope.get("path_params"):
        return str(scope["path"])  # a route of starlette's own kind without parameters: its path is its pattern
    return exchange.route


def _tally(outcomes: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts
