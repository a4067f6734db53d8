"""uvicorn's HTTP protocol, hardened: limits that uvicorn and httptools lack, and refusal under overload.

A header block may come in pieces without end, or never end; the middleware sees a request only when it is whole. The
costs on the way of every request are a few sums and comparisons.

A request becomes a task when its turn comes (`service.overload.admission`). One that an overloaded worker does not take
on gets its 503 here, as bytes: as a task it would cost four times as much, of the time that answers need.
"""

import asyncio
import time
from typing import Any, Final, cast

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from userip.service.http.head_buffering import HeadBufferingTransport
from userip.service.http.middleware import PROBES, READ_AT, REFUSED, RequestMiddleware
from userip.service.http.pipelining import PipeliningHttpProtocol
from userip.service.http.refusals import FOREIGN_HOST, LARGE, LONG_URL, MALFORMED, MAX_HEADERS, MAX_URL_BYTES, NO_HOST
from userip.service.http.refusals import MAX_HEADER_BYTES as MAX_BYTES

_LOOK_EVERY_S = 5.0
# How long a connection may be in one state. Work is bounded by the middleware; this ends answers that nobody takes.
_HEADERS_S = 10.0
_IDLE_S = 75.0
_WORK_S = 300.0


_OTHER_PROTOCOLS: Final = frozenset({b"upgrade", b"http2-settings"})


class _Turn:
    """A request in the queue."""

    __slots__ = ("_cycle", "_protocol", "read_at")

    def __init__(self, protocol: "HardenedHttpProtocol", cycle: RequestResponseCycle, read_at: float) -> None:
        self._protocol, self._cycle, self.read_at = protocol, cycle, read_at

    def start(self) -> None:
        """Its turn has come."""
        self._protocol.begin(self._cycle)

    def refuse(self) -> None:
        """Its turn came too late."""
        self._protocol.shed(self._cycle)


class _RefusedError(Exception):
    """Stops the parser, which reports it as a malformed request."""


class HardenedHttpProtocol(PipeliningHttpProtocol):
    """uvicorn's protocol with bounds on headers, URL and time."""

    _received = 0  # bytes since the last header block or piece of a body: of what may have no end
    _header_bytes = 0
    _comes = False  # a message has begun and not ended
    _upgrades = False  # it asks for another protocol than HTTP/1.1
    _refusal = MALFORMED
    _host: bytes | None = None  # the last one that was allowed
    _state: tuple[object, float] = (None, _IDLE_S)
    _since = 0.0
    _timer: asyncio.TimerHandle | None = None
    _middleware: RequestMiddleware | None = None
    _at_work: RequestResponseCycle | None = None
    _reads = False
    _next: RequestResponseCycle | None = None  # it need not wait: what came is read to its end, then it is worked on
    _refused: str | None = None  # why the request whose body comes now is not taken on
    _swallowed = 0  # bytes of that body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at the state of the connection now and then."""
        self._raw, self._writes = transport, HeadBufferingTransport(transport)
        super().connection_made(self._writes)  # type: ignore[arg-type]  # all of a transport that uvicorn uses
        self._middleware = self.app if isinstance(self.app, RequestMiddleware) else None
        self._since = self.loop.time()
        self._timer = self.loop.call_later(_LOOK_EVERY_S, self._look)
        peer = transport.get_extra_info("socket")
        if self._middleware is not None and peer is not None and not self._middleware.descriptors.spares(peer.fileno()):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._at_work is not None:  # uvicorn tells only the last one that was read
            self._at_work.disconnected = True
            self._at_work.message_event.set()
        super().connection_lost(exc)
        self._state = (None, 0.0)

    def data_received(self, data: bytes) -> None:
        """Parse, then work on what need not wait: by now the body of most is there."""
        self._reads = True
        super().data_received(data)
        while self._next is not None:
            cycle, self._next = self._next, None
            self._work(cycle)
            self._middleware.admission.worked(self.loop.call_soon)  # type: ignore[union-attr]  # or nothing passes
        self._reads = False

    def feed(self, data: memoryview) -> bool:
        """Parse, and refuse a header block, trailers or the frame of a chunk that grow too large without their end."""
        self._received += len(data)
        try:
            while True:
                try:
                    self.parser.feed_data(data)
                except httptools.HttpParserUpgrade as upgrade:
                    data = data[upgrade.args[0] :]
                    self._stay()
                else:
                    break
        except httptools.HttpParserError:
            self.send_400_response("")
            return False
        if self._received <= MAX_BYTES + MAX_URL_BYTES or not self._comes:
            return True
        self._refusal = LARGE
        self.send_400_response("")
        return False

    def on_message_begin(self) -> None:
        """A request begins."""
        self._header_bytes, self._comes = 0, True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. What comes behind a body, a trailer, is none: whoever stands before this service has not seen
        it among the headers, and the request may be at work already."""
        if "method" in self.scope:
            return
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_BYTES or len(self.headers) == MAX_HEADERS:
            self._refusal = LARGE
            raise _RefusedError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let a request through, or refuse it before there is a task."""
        if len(self.url) > MAX_URL_BYTES:
            self._refusal = LONG_URL
            raise _RefusedError
        self._upgrades = self.parser.should_upgrade()
        if self._upgrades:
            return
        self._received = 0
        self._check_host()
        if self._middleware is not None and self._next_in_turn():
            path = self.url.partition(b"?")[0].decode("ascii", "replace")
            self._refused = self._middleware.full(path)
            if self._refused is not None:
                self.scope["method"] = self.parser.get_method().decode("ascii")
                self.scope["path"], self._swallowed = path, 0
                return
        super().on_headers_complete()

    def _check_host(self) -> None:
        """Refuse a request without a Host of its own, or for one that is not ours. Probes come by any name, as kubelet
        and Prometheus call a pod by its address; some, in HTTP/1.0, by none. They tell nothing of a person."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) == 1 and hosts[0] == self._host:
            return
        probe = self.url.partition(b"?")[0].decode("ascii", "replace") in PROBES
        if len(hosts) != 1 and (hosts or not probe or self.parser.get_http_version() != "1.0"):
            self._refusal = NO_HOST
            raise _RefusedError
        if probe or self._middleware is None:
            return
        if not self._middleware.answers_to(hosts[0]):
            self._refusal = FOREIGN_HOST
            raise _RefusedError
        self._host = hosts[0]

    def on_body(self, body: bytes) -> None:
        """Of a refused request the body is read and forgotten: the answer comes where the client expects it."""
        self._received = 0
        if self._refused is None:
            super().on_body(body)
            return
        self._swallowed += len(body)
        if self._middleware is not None and self._swallowed > self._middleware.body_bytes:
            self._refuse(keep=False)
            raise _RefusedError

    def on_message_complete(self) -> None:
        """What comes next is another request."""
        if self._upgrades:
            return
        self._received, self._comes = 0, False
        if self._refused is None:
            super().on_message_complete()
        else:
            self._refuse(keep=self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0")

    def on_response_complete(self) -> None:
        """An answer without a body is all head."""
        if self._writes.head:
            self._writes.flush()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed: tell why, and close. Answers to the requests before it go first."""
        if self.transport.is_closing():  # it was told already
            return
        if self._refused is not None:
            self._refuse(keep=False)
            return
        if self.cycle is not None:
            own = self._comes and self.cycle.scope is self.scope
            if own and self.pipeline:  # it waits for its turn
                self.pipeline[0] = (self.cycle, self._tell)  # type: ignore[assignment]  # an application by other names
                self.flow.pause_reading()
                return
            if own and self.cycle.response_started:  # the answer came before the rest of the body
                self.transport.close()
                return
            if not own and not self.cycle.response_complete:
                self.cycle.keep_alive = False
                self.flow.pause_reading()
                return
        headers, body = self._refusal.answer()
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        status = f"HTTP/1.1 {self._refusal.problem.status} {self._refusal.problem.title}\r\n".encode()
        self.transport.write(status + lines + b"\r\n" + body)
        self.transport.close()

    async def _tell(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in its turn a request whose rest cannot be parsed."""
        headers, body = self._refusal.answer()
        await send({"type": "http.response.start", "status": self._refusal.problem.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _stay(self) -> None:
        """Go on in HTTP/1.1, as a server may, with a request that asks for another protocol: clients that try HTTP/2 by
        default (Java's, `curl --http2`) send their body along. The parser has stopped at the end of the head, so
        another one is given it without that wish; the rest is for that one."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError
        head = [b"%b %b HTTP/%b\r\n" % (method, self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                wishes = [wish for wish in value.split(b",") if wish.strip().lower() not in _OTHER_PROTOCOLS]
                head.append(b"connection: %b\r\n" % b",".join(wishes))
            elif name not in _OTHER_PROTOCOLS:
                head.append(b"%b: %b\r\n" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(b"".join([*head, b"\r\n"]))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401  # uvicorn's own type
        """Let a request wait for its turn; know whose it is on this connection."""
        self._at_work = cycle
        now = time.perf_counter()
        queue = self._middleware
        if queue is None or app is not queue or not queue.queues(cycle.scope["path"], now):
            super()._start_asgi_task(cycle, app)
            return
        cycle.scope[READ_AT] = now  # type: ignore[typeddict-unknown-key]  # a key of our own
        if not queue.admission.passes():
            queue.admission.wait(_Turn(self, cycle, now))
        elif self._reads:
            self._next = cycle
        else:
            self.begin(cycle)

    def begin(self, cycle: RequestResponseCycle) -> None:
        """A request's turn has come: the event loop does it next."""
        self.loop.call_soon(self._work, cycle)

    def _work(self, cycle: RequestResponseCycle) -> None:
        """Answer a request at once, or make it a task where something has to be waited for."""
        assert self._middleware is not None
        if cycle.disconnected or self._has_more(cycle):
            super()._start_asgi_task(cycle, self.app)
            return
        scope = cast(Scope, cycle.scope)
        keep = cycle.keep_alive and not self._middleware.leaves
        answer = self._middleware.at_once(scope, cycle.body, cycle.default_headers, close=not keep)
        if answer is None:
            super()._start_asgi_task(cycle, self.app)
        else:
            self._write_whole(cycle, answer, keep=keep)

    def _has_more(self, cycle: RequestResponseCycle) -> bool:
        """Whether there is more to a request than to send bytes."""
        return cycle.more_body or cycle.waiting_for_100_continue or self.flow.write_paused

    def _write_whole(self, cycle: RequestResponseCycle, answer: bytes, *, keep: bool) -> None:
        self._raw.write(answer)
        cycle.response_started = cycle.response_complete = True
        if not keep:
            self.transport.close()
        self.on_response_complete()

    def shed(self, cycle: RequestResponseCycle) -> None:
        """Refuse a request that has waited for too long; leave it where its client has gone."""
        assert self._middleware is not None
        scope = cycle.scope
        if cycle.disconnected or self.transport.is_closing():
            self._middleware.gone(scope["path"], scope["method"])
        elif self._has_more(cycle):
            scope[REFUSED] = "queue"  # type: ignore[typeddict-unknown-key]  # a key of our own
            super()._start_asgi_task(cycle, self.app)
        else:
            keep = cycle.keep_alive and not self._middleware.leaves
            answer = self._middleware.refusal("queue", scope["path"], scope["method"], scope["headers"], close=not keep)
            self._write_whole(cycle, answer, keep=keep)

    def _next_in_turn(self) -> bool:
        """Whether the request that was read is answered next, and can be answered at once."""
        before = self.cycle is None or self.cycle.response_complete
        # Whoever does not take answers must not be asked on: a task waits until there is room, and nothing is read.
        return before and not self.expect_100_continue and self.url[:1] == b"/" and not self.flow.write_paused

    def _refuse(self, *, keep: bool) -> None:
        """Answer the request that was not taken on."""
        if self._middleware is None or self._refused is None or self.transport.is_closing():
            return
        reason, self._refused = self._refused, None
        keep = keep and not self._middleware.leaves
        method, path = self.scope["method"], self.scope["path"]
        self.transport.write(self._middleware.refusal(reason, path, method, self.headers, close=not keep))
        self._writes.flush()
        self._state = (self.scope, _IDLE_S)  # this connection was not idle
        if not keep:
            self.transport.close()

    def _reads_headers(self) -> bool:
        return self.scope is not None and "method" not in self.scope and not self.transport.is_closing()

    def _look(self) -> None:
        """Close a connection that has been in one state for too long: half a header, idle, or an answer not taken."""
        state: tuple[object, float]
        if self.cycle is not None and not self.cycle.response_complete:
            state = (self.cycle, _WORK_S)
        elif self._reads_headers():
            state = (self.scope, _HEADERS_S)
        else:
            state = (self.cycle, _IDLE_S)
        now = self.loop.time()
        if state[0] is not self._state[0] or state[1] != self._state[1]:
            self._state, self._since = state, now
        elif now - self._since > state[1]:
            self.transport.abort()
            return
        self._timer = self.loop.call_later(_LOOK_EVERY_S, self._look)
