"""The one layer around everything, in plain ASGI: a `BaseHTTPMiddleware` would cost more than the scoring.

It names, counts, times and logs every request, renders what the worker does not take on (`service.overload` decides,
`service.http.protocol` asks before there is a task), hands the bodies of the hot routes straight to those who
answer them, and passes everything else on to FastAPI.
"""

import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from userip.bank.deadline import Deadlines
from userip.scoring.errors import RequestError
from userip.service.auth.access import ApiKeyAuth
from userip.service.auth.rate_limit import RateLimit
from userip.service.errors import BodyTooLargeError, DeadlineError, EncodedBodyError, OverloadedError
from userip.service.http.bodies import Bodies
from userip.service.http.draining import Drain
from userip.service.http.hosts import AllowedHosts
from userip.service.http.hot import JSON, Content, Headers, HotRoute, answered
from userip.service.http.problems import HARDENED, internal_problem, overloaded, problem_response
from userip.service.observe.log import AccessLog
from userip.service.observe.metrics import Metrics
from userip.service.observe.request_record import RECORD, RequestRecord
from userip.service.observe.tracing import Trace
from userip.service.overload.admission import Admission
from userip.service.overload.descriptors import Descriptors
from userip.service.settings import Settings

T = TypeVar("T")

CLIENT_CLOSED = 499  # the client left before the answer; the number that nginx made common
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# These pass before the queue, as many a second and at once: monitoring must see a busy worker. More of them queue up.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_PROBES_A_SECOND, _PROBES_AT_ONCE = 50.0, 25
READ_AT: Final = "userip.read_at"  # in the scope: when its head was read, on time.perf_counter
REFUSED: Final = "userip.refused"  # in the scope of a request whose turn came too late: why
_WORK: Final = "userip.work"  # in the scope of one that was begun before it became a task: what to await
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
            settings.max_in_flight,
            settings.max_body_bytes,
            settings.queue_delay_target_ms / 1000,
            settings.deadline_ms / 1000,
        )


class RequestMiddleware:
    """What every request passes first. `hot`: path -> who answers a POST there."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hot: Mapping[str, HotRoute],
        limits: Limits,
        metrics: Metrics,
        log: FilteringBoundLogger,
        access_log: AccessLog,
        drain: Drain | None = None,
        auth: ApiKeyAuth | None = None,
        trace: Trace | None = None,
        hosts: AllowedHosts | None = None,
    ) -> None:
        self.app = app
        self._hot = hot
        self._limits = limits
        self._metrics = metrics
        self._log = log
        self._access_log = access_log
        self._drain = drain or Drain()
        self._keyed = auth if auth is not None and auth.has_keys else None
        self._closed = auth if auth is not None and auth.closed else None
        self._trace = trace
        self._hosts = hosts
        self.admission = Admission(limits.in_flight, limits.queue_s)
        self.descriptors = Descriptors(log, metrics.connection_refused)
        self._probes = RateLimit(_PROBES_A_SECOND, _PROBES_AT_ONCE)
        self._bodies = Bodies(limits.body_bytes, limits.coming_bytes)
        self._deadlines = Deadlines(limits.deadline_s)
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or pass it on; leave other scopes alone."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route = self._route_of(scope)
        record: RequestRecord = scope.get(RECORD) or self._enter(scope, route)
        try:
            if _WORK in scope:
                await self._send(await self._watched(scope[_WORK], record), record, send)
                return
            self._admit(scope)
            if route is None:
                await self._pass_on(scope, record, receive, send)
            else:
                await self._answer(route, scope, record, receive, send)
        except RequestError as error:
            await problem_response(error, scope)(scope, receive, self._noting(record, send))
        except Exception:
            self._log.exception("request failed", request_id=record.request_id, route=_route(scope, record))
            if record.status == 0:
                await internal_problem(record.request_id)(scope, receive, self._noting(record, send))
        finally:
            self._end(scope, record)

    def at_once(self, scope: Scope, body: bytearray, common: Headers, *, close: bool) -> bytes | None:
        """The whole answer to a request for a hot route that has nothing to wait for; None where it has to become a
        task, which goes on from here. `common`: headers of every answer."""
        route = self._route_of(scope)
        if route is None:
            return None
        record = self._enter(scope, route)
        try:
            self._admit(scope)
            self._authorize(route, scope, record)
            content = self._start(route, bytes(body), record)
        except Exception as error:
            content = _raise(error)
        if not isinstance(content, bytes):
            scope[_WORK] = content
            return None
        record.status = 200
        self._end(scope, record)
        return answered(common, content, record.request_id, close=close)

    def _route_of(self, scope: Scope) -> HotRoute | None:
        return self._hot.get(scope["path"]) if scope["method"] == "POST" else None

    def _enter(self, scope: Scope, route: HotRoute | None) -> RequestRecord:
        """Begin a request's record, and let the next one in the queue come."""
        started: float = scope.get(READ_AT, begun := time.perf_counter())
        record = RequestRecord(request_id=self._name(scope["headers"]), started=started, method=scope["method"])
        scope[RECORD] = record
        if route is not None:
            record.route = route.path
        if READ_AT in scope:
            record.stages["queue"] = begun - started
            if REFUSED not in scope:
                self.admission.entered()
        self._metrics.entered()
        return record

    def _end(self, scope: Scope, record: RequestRecord) -> None:
        """Hand the finished record to metrics, admission, traces and access log."""
        seconds = time.perf_counter() - record.started
        record.status = record.status or CLIENT_CLOSED
        record.route = _route(scope, record)
        self._metrics.observe(record, seconds)
        if record.encoded and record.status == 200:
            self.admission.answered()
        if self._trace is not None:
            self._trace(scope["headers"], record, seconds)
        self._access_log.write(record, seconds)

    def _name(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The caller's own id if it is harmless in a log, else a new one."""
        for name, value in headers:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                return value.decode()
        return f"{self._prefix}{next(self._numbers) & 0xFFFFFFFF:08x}"

    def answers_to(self, host: bytes) -> bool:
        """Whether a Host header is one that this service was told to answer to."""
        return self._hosts is None or host in self._hosts

    def queues(self, path: str, now: float) -> bool:
        """Whether a request waits for its turn. Ask once for each: a probe that passes uses up its budget."""
        return path not in PROBES or self._probes.wait("", None, now) > 0

    def full(self, path: str) -> str | None:
        """Why a request cannot even wait, if so."""
        return "queue" if self.admission.is_full and path not in PROBES else None

    def gone(self, path: str, method: str) -> None:
        """Count a request whose client left while it waited."""
        self._metrics.refused(path if path in self._hot else "unmatched", method, CLIENT_CLOSED)

    @property
    def body_bytes(self) -> int:
        """How long a body may be."""
        return self._limits.body_bytes

    @property
    def leaves(self) -> bool:
        """Whether this worker is about to end, so that connections should not be kept."""
        return self._drain.begun

    def refusal(
        self, reason: str, path: str, method: str, headers: Iterable[tuple[bytes, bytes]], *, close: bool
    ) -> bytes:
        """The whole answer to a request that is refused before there is a task; counts it."""
        self._metrics.offered(self.admission.cost_s)
        self._metrics.refused(path if path in self._hot else "unmatched", method, 503, reason)
        return overloaded(self._name(headers), head_only=method == "HEAD", close=close)

    def _admit(self, scope: Scope) -> None:
        """Refuse whoever waited for too long, and bodies that are too large or compressed, before they are read."""
        if _passes(scope):
            return
        self._metrics.offered(self.admission.cost_s)
        if REFUSED in scope:
            raise OverloadedError(scope[REFUSED])
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value[:20]) > self._limits.body_bytes:
                raise BodyTooLargeError(self._limits.body_bytes)
            if name == b"content-encoding" and value.lower() != b"identity":
                raise EncodedBodyError

    async def _answer(self, route: HotRoute, scope: Scope, record: RequestRecord, receive: Receive, send: Send) -> None:
        """Read the body, have it answered, both within the deadline, and send what comes."""
        self._authorize(route, scope, record)
        body = await self._watched(self._bodies.read(receive), record)
        if body is not None:
            content = self._start(route, body, record)
            if not isinstance(content, bytes):
                content = await self._watched(content, record)
            await self._send(content, record, send)

    def _authorize(self, route: HotRoute, scope: Scope, record: RequestRecord) -> None:
        if self._closed is not None:
            self._closed.identify(scope["headers"], record)
            self._closed.require(route.rights, record)

    def _start(self, route: HotRoute, body: bytes, record: RequestRecord) -> Content:
        """Answer, or begin to: a place is taken until there is an answer."""
        if len(body) > self._limits.body_bytes:
            raise BodyTooLargeError(self._limits.body_bytes)
        self._begin()
        content: Content = b""
        try:
            content = route.answer(body, record)
        finally:
            if isinstance(content, bytes):
                self.admission.end()
        return content if isinstance(content, bytes) else self._held(content)

    async def _held(self, work: Coroutine[Any, Any, bytes]) -> bytes:
        try:
            return await work
        finally:
            self.admission.end()

    async def _watched(self, work: Awaitable[T], record: RequestRecord) -> T:
        try:
            with self._deadlines.watch(record.started):
                return await work
        except TimeoutError:
            raise DeadlineError from None

    async def _send(self, content: bytes, record: RequestRecord, send: Send) -> None:
        headers = [JSON, (b"content-length", b"%d" % len(content)), (b"x-request-id", record.request_id.encode())]
        headers += HARDENED
        if self.leaves:
            headers.append(_CLOSE)
        record.status = 200
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _begin(self) -> None:
        """Take a place. Raises OverloadedError when those who were read at the same time have taken the last ones."""
        if not self.admission.begin():
            raise OverloadedError("in_flight")

    async def _pass_on(self, scope: Scope, record: RequestRecord, receive: Receive, send: Send) -> None:
        left, comes = self._limits.body_bytes, True

        async def receive_bounded() -> Message:
            """The body within its bytes and the deadline; how long it is worked on is the route's own affair."""
            nonlocal left, comes
            if not comes:
                return await receive()
            message = await self._watched(receive(), record)
            comes = message["type"] == "http.request" and message.get("more_body", False)
            left -= len(message.get("body", b""))
            if left < 0:
                raise BodyTooLargeError(self._limits.body_bytes)
            return message

        if _passes(scope):
            await self.app(scope, receive_bounded, self._noting(record, send))
            return
        if self._keyed is not None:
            self._keyed.identify(scope["headers"], record)
        self._begin()
        try:
            await self.app(scope, receive_bounded, self._noting(record, send))
        finally:
            self.admission.end()

    def _noting(self, record: RequestRecord, send: Send) -> Send:
        """`send` that notes the status and adds the request's name."""

        async def send_noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                given = dict(message.get("headers", ()))
                own = [(b"x-request-id", record.request_id.encode())]
                own += [header for header in HARDENED if header[0] not in given]
                message["headers"] = [*message.get("headers", ()), *own, *([_CLOSE] if self.leaves else ())]
            await send(message)

        return send_noting


def _passes(scope: Scope) -> bool:
    """Whether it is a probe within the budget."""
    return scope["path"] in PROBES and READ_AT not in scope


def _route(scope: Scope, record: RequestRecord) -> str:
    """The pattern of the route that matched. Never a path that holds an id."""
    if (route := scope.get("route")) is not None:
        return str(route.path_format)
    if "endpoint" in scope and not scope.get("path_params"):
        return str(scope["path"])  # a route of starlette's own kind without parameters: its path is its pattern
    return record.route


async def _raise(error: Exception) -> bytes:
    raise error
