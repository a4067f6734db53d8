"""The one layer around everything, in plain ASGI: a `BaseHTTPMiddleware` would cost more than the scoring.

It names, counts, times and logs every request, renders what the worker does not take on (`service.overload` decides,
`service.http.protocol` asks before there is a task), hands the bodies of the hot routes straight to those who
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

from userip.bank.deadline import Deadlines
from userip.scoring.errors import RequestError
from userip.service.auth.access import ApiKeyAuth
from userip.service.auth.rate_limit import RateLimit
from userip.service.errors import BodyTooLargeError, DeadlineError, EncodedBodyError, OverloadedError
from userip.service.http.draining import Drain
from userip.service.http.hosts import AllowedHosts
from userip.service.http.problems import HARDENED, internal_problem, overloaded, problem_response
from userip.service.observe.log import AccessLog
from userip.service.observe.metrics import Metrics
from userip.service.observe.request_record import RECORD, RequestRecord
from userip.service.observe.tracing import Trace
from userip.service.overload.admission import Admission
from userip.service.overload.descriptors import Descriptors
from userip.service.settings import Settings

HotRoute = Callable[[bytes, RequestRecord], Awaitable[bytes]]  # a JSON body in, a JSON body out; raises RequestError

CLIENT_CLOSED = 499  # the client left before the answer; the number that nginx made common
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# These pass before the queue, as many a second and at once: monitoring must see a busy worker. More of them queue up.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_PROBES_A_SECOND, _PROBES_AT_ONCE = 50.0, 25
READ_AT: Final = "userip.read_at"  # in the scope: when its head was read, on time.perf_counter
REFUSED: Final = "userip.refused"  # in the scope of a request whose turn came too late: why
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
        self._coming_bytes = 0
        self._deadlines = Deadlines(limits.deadline_s)
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or pass it on; leave other scopes alone."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        started: float = scope.get(READ_AT, begun)
        record = RequestRecord(request_id=self._name(scope["headers"]), started=started, method=scope["method"])
        scope[RECORD] = record
        if READ_AT in scope:
            record.stages["queue"] = begun - started
            if REFUSED not in scope:
                self.admission.entered()
        self._metrics.entered()
        try:
            answer = self._hot.get(scope["path"]) if scope["method"] == "POST" else None
            if answer is not None:
                record.route = scope["path"]
            self._admit(scope)
            if answer is not None:
                await self._answer(answer, scope, record, receive, send)
            else:
                await self._pass_on(scope, record, receive, send)
        except RequestError as error:
            await problem_response(error, scope)(scope, receive, self._noting(record, send))
        except Exception:
            self._log.exception("request failed", request_id=record.request_id, route=_route(scope, record))
            if record.status == 0:
                await internal_problem(record.request_id)(scope, receive, self._noting(record, send))
        finally:
            self._end(scope, record, time.perf_counter() - started)

    def _end(self, scope: Scope, record: RequestRecord, seconds: float) -> None:
        """Hand the finished record to metrics, admission, traces and access log."""
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

    async def _answer(
        self, answer: HotRoute, scope: Scope, record: RequestRecord, receive: Receive, send: Send
    ) -> None:
        """Read the body, have it answered, both within the deadline, and send what comes."""
        if self._closed is not None:
            self._closed.identify(scope["headers"], record)
            self._closed.require("score", record)
        try:
            with self._deadlines.watch(record.started):
                body = await self._read_body(receive)
                if body is None:
                    return
                self._begin()
                try:
                    content = await answer(body, record)
                finally:
                    self.admission.end()
        except TimeoutError:
            raise DeadlineError from None
        headers = [_JSON, (b"content-length", b"%d" % len(content)), (b"x-request-id", record.request_id.encode())]
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

    async def _read_body(self, receive: Receive) -> bytes | None:
        """The whole body, or None when the client left before it was sent. Raises BodyTooLargeError as it comes."""
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > self._limits.body_bytes:
                raise BodyTooLargeError(self._limits.body_bytes)
            return body
        return await self._read_pieces(message, receive)

    async def _read_pieces(self, message: Message, receive: Receive) -> bytes | None:
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
                    raise OverloadedError("bodies")
                message = await receive()
            return None
        finally:
            self._coming_bytes -= len(body)

    async def _pass_on(self, scope: Scope, record: RequestRecord, receive: Receive, send: Send) -> None:
        left, comes = self._limits.body_bytes, True

        async def receive_bounded() -> Message:
            """The body within its bytes and the deadline; how long it is worked on is the route's own affair."""
            nonlocal left, comes
            if not comes:
                return await receive()
            try:
                with self._deadlines.watch(record.started):
                    message = await receive()
            except TimeoutError:
                raise DeadlineError from None
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
