"""Hostile clients on raw sockets against a real `userip serve`: each is told why or cut off; others do not suffer."""

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import httpx2
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.fixtures.process import ServeProcess
from tests.fixtures.serving import publish
from tests.fixtures.tiny_release import write_release
from userip.service.http import protocol
from userip.service.http.middleware import Limits, RequestMiddleware
from userip.service.http.refusals import MAX_HEADER_BYTES, MAX_HEADERS, MAX_URL_BYTES
from userip.service.observe.log import AccessLog, make_logger
from userip.service.observe.metrics import Metrics
from userip.service.overload import admission

HOST = b"host: localhost\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """One real service for all hostile clients: what one of them does must not harm the next."""
    place = tmp_path_factory.mktemp("hostile")
    tiny = write_release(place / "release")
    publish(f"lmdb://{place}/bank", tiny.name)
    arguments = ("--set", "max_body_bytes=20000", "--set", "max_candidates=50", "--set", "deadline_ms=700")
    with ServeProcess(tiny.path, f"lmdb://{place}/bank", place / "log", *arguments) as running:
        yield running
        assert running.score().json()["profile"] == "known"
        assert "Traceback" not in (place / "log").read_text()


def talk(port: int, *pieces: bytes, pause: float = 0.0) -> tuple[int, Mapping[str, str], bytes]:
    """Send `pieces`, as far as the server takes them; give status, headers and body of its answer. 0 = cut off."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass  # refused while it was still sending
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
                head, end, body = answer.partition(b"\r\n\r\n")
                if end and len(body) >= int(_headers(head).get("content-length", "0")):
                    break
        except OSError:
            pass  # a reset may overtake the answer
    if not answer:
        return 0, {}, b""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), _headers(head), body


def _headers(head: bytes) -> dict[str, str]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.decode().lower(): value.decode().strip() for name, _, value in pairs}


def post(body: bytes, *headers: bytes) -> bytes:
    """A whole POST /score."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST /score HTTP/1.1\r\n" + HOST + lines + b"content-length: %d\r\n\r\n" % len(body) + body


def scoring(candidates: int, letters: int = 2) -> bytes:
    """A body with so many candidates."""
    return json.dumps({"user_id": "u1", "item_ids": ["i" * letters] * candidates}).encode()


def chunked(body: bytes) -> list[bytes]:
    """A POST /score that does not say how long it is."""
    head = b"POST /score HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n" % 1000 + body[i : i + 1000] + b"\r\n" for i in range(0, len(body), 1000)), b"0\r\n\r\n"]


def many_headers(count: int, size: int = 1) -> bytes:
    return b"".join(b"x-%d: %s\r\n" % (i, b"v" * size) for i in range(count))


GET, POST = b"GET /healthz HTTP/1.1\r\n" + HOST, b"POST /score HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
CASES: Mapping[str, tuple[list[bytes], int, str]] = {
    "a request like any other": ([post(scoring(50))], 200, ""),
    "a candidate too many": ([post(scoring(51))], 422, "invalid-request"),
    "an id too long": ([post(scoring(1, 257))], 422, "invalid-request"),
    "a body that says it is too large": ([post(b" " * 20_001)], 413, "body-too-large"),
    "a body that grows too large as it comes": (chunked(b" " * 40_000), 413, "body-too-large"),
    "a length beyond every number": (
        [POST + b"content-length: 99999999999999999999999\r\n\r\n"], 400, "malformed-request"),
    "a gzip bomb": ([post(gzip.compress(bytes(10_000_000)), b"content-encoding: gzip")], 415, "encoded-body"),
    "two lengths": ([POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}"],
                    400, "malformed-request"),
    "length and chunks": ([POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n"],
                          400, "malformed-request"),
    "as many headers as may be": ([GET + many_headers(MAX_HEADERS - 1) + b"\r\n"], 200, ""),
    "a header too many": ([GET + many_headers(MAX_HEADERS) + b"\r\n"], 431, "headers-too-large"),
    "headers as large as may be": ([GET + many_headers(9, 3000) + b"\r\n"], 200, ""),
    "headers too large": ([GET + b"x: " + b"v" * MAX_HEADER_BYTES + b"\r\n\r\n"], 431, "headers-too-large"),
    "headers without an end": ([GET] + [many_headers(10, 1000)] * 20_000, 431, "headers-too-large"),
    "a header name without an end": ([GET] + [b"v" * 65536] * 3_000, 431, "headers-too-large"),
    "a long URL": ([b"GET /profile/" + b"u" * 3000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"], 422, "invalid-request"),
    "a URL too long": ([b"GET /" + b"u" * MAX_URL_BYTES + b" HTTP/1.1\r\n" + HOST + b"\r\n"], 414, "url-too-long"),
    "a URL without an end": ([b"GET /", *([b"u" * 65536] * 3_000)], 431, "headers-too-large"),
    "no HTTP": ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10], 400, "malformed-request"),
    "trailers without an end": ([CHUNKED] + [b"X: a\r\n" * 2000] * 2_000, 431, ""),
    "a trailer without an end": ([CHUNKED + b"X: "] + [b"v" * 65536] * 3_000, 431, ""),
    "a chunk whose head has no end": (
        [POST + b"transfer-encoding: chunked\r\n\r\n2;"] + [b"v" * 65536] * 3_000, 431, "headers-too-large"),
    "a tunnel": ([b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n"], 400, "malformed-request"),
    "a NUL in a header": ([GET + b"x: a\x00b\r\n\r\n"], 400, "malformed-request"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_hostile_request_is_refused_with_a_reason(service: ServeProcess, case: str) -> None:
    """Every limit answers with its own status and problem, also where bytes keep coming without an end."""
    pieces, status, kind = CASES[case]
    found, headers, body = talk(service.port, *pieces)
    if found == 0 and len(pieces) > 1000:
        return  # the server hung up on a client that never stopped sending, whose own reset swallowed the answer
    assert found == status
    if kind:
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["type"] == f"urn:userip:problem:{kind}"
        assert json.loads(body)["status"] == status


def test_body_that_comes_too_slowly_is_given_up(service: ServeProcess) -> None:
    """A body that is not there by the deadline is 503, and holds no place meanwhile."""
    pieces = [POST + b"content-length: 100\r\n\r\n", *([b" "] * 12)]
    assert talk(service.port, *pieces, pause=0.1)[0] == 503


def test_answers_carry_the_headers_that_harden(service: ServeProcess) -> None:
    """No guessing of types, no caching of what is said of people, no name of the server, no word of CORS."""
    asked: tuple[Callable[[], httpx2.Response], ...] = (
        service.score,
        lambda: service.client.get("/profile/u1", headers={"origin": "https://evil.example"}),
        lambda: service.client.get("/profile/nobody"),
        lambda: service.client.post("/score", content=b"{"),
        lambda: service.client.get("/release"),
        lambda: service.client.options(
            "/score", headers={"origin": "https://evil.example", "access-control-request-method": "POST"}
        ),
    )
    for ask in asked:
        headers = ask().headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
        assert not [name for name in headers if name.startswith("access-control-")]


@contextmanager
def running(app: ASGIApp) -> Iterator[int]:
    """An application behind the protocol, in a thread of its own; its port."""
    config = uvicorn.Config(
        app,
        port=0,
        http=protocol.HardenedHttpProtocol,
        lifespan="off",
        log_level="critical",
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The protocol with short times before an application that answers at once; its port."""
    for name, seconds in (("_LOOK_EVERY_S", 0.05), ("_HEADERS_S", 0.3), ("_IDLE_S", 1.0)):
        monkeypatch.setattr(protocol, name, seconds)

    with running(ok) as port:
        yield port


def cut_off_after(port: int, first: bytes, drip: bytes) -> float:
    """Send `first`, then `drip` again and again; the seconds until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.settimeout(0.05)
        begun = time.monotonic()
        connection.sendall(first)
        while time.monotonic() - begun < 15:
            try:
                if connection.recv(4096) == b"":
                    break
            except TimeoutError:
                pass
            except OSError:
                break
            try:
                connection.sendall(drip)
            except OSError:
                break
        return time.monotonic() - begun


def test_connections_that_only_wait_are_closed(impatient: int) -> None:
    """Headers that drip, a connection that says nothing, and a body that drips after its answer are all cut off."""
    whole = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    assert 0.3 < cut_off_after(impatient, b"GET /u", b"u") < 14
    assert 0.3 < cut_off_after(impatient, whole + b"GET / HTTP/1.1\r\nx: ", b"v") < 14
    assert 1.0 < cut_off_after(impatient, b"", b"") < 14
    assert 1.0 < cut_off_after(impatient, b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 9999\r\n\r\n", b"v") < 14


def test_answers_that_nobody_takes_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks on and on and reads nothing: cut off, whether the answer waits to be sent or to be taken."""
    for name, seconds in (("_LOOK_EVERY_S", 0.05), ("_IDLE_S", 0.5), ("_WORK_S", 0.5)):
        monkeypatch.setattr(protocol, name, seconds)
    size = 20_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": bytes(size)})

    whole = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    with running(app) as port:
        for requests in (1, 3):  # with the second one the application waits until there is room for its answer
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(whole * requests)
                time.sleep(1.5)
                taken = 0
                with suppress(ConnectionError):
                    while piece := connection.recv(1 << 20):
                        taken += len(piece)
                assert taken < size


def test_connection_that_asks_now_and_then_is_kept(impatient: int) -> None:
    """Requests on one connection for longer than each limit: none of them is cut off."""
    with socket.create_connection(("127.0.0.1", impatient), timeout=5) as connection:
        begun = time.monotonic()
        while time.monotonic() - begun < 1.6:
            connection.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            answer = b""
            while not answer.endswith(b"\r\n\r\nok"):
                piece = connection.recv(4096)
                assert piece
                answer += piece
            time.sleep(0.2)


def guarded(app: ASGIApp) -> ASGIApp:
    """`app` behind a middleware all of whose places are taken, so that everything but a probe is refused."""
    log = make_logger("error")
    return RequestMiddleware(
        app,
        hot={},
        limits=Limits(in_flight=0, body_bytes=100_000, queue_s=0.001, deadline_s=1.0),
        metrics=Metrics(),
        log=log,
        access_log=AccessLog(log, 0),
    )


async def ok(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers at once."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The protocol before a worker that refuses everything but a probe as soon as it is read; its port."""
    monkeypatch.setattr(admission, "_MOST_WAITING", 0)
    with running(guarded(ok)) as port:
        yield port


@pytest.fixture(params=["full", "late"])
def refusing(request: pytest.FixtureRequest) -> Iterator[int]:
    """The same, and one that refuses when the turn has come too late."""
    if request.param == "full":
        yield request.getfixturevalue("full")
    else:
        with running(guarded(ok)) as port:
            yield port


def ask(connection: socket.socket, *pieces: bytes, bodiless: bool = False) -> tuple[int, Mapping[str, str], bytes]:
    """Send a request in pieces, a moment apart, and read its answer, which leaves the connection at its end."""
    for piece in pieces:
        connection.sendall(piece)
        time.sleep(0.02)
    answer = b""
    while True:
        head, end, body = answer.partition(b"\r\n\r\n")
        if end and (bodiless or len(body) >= int(_headers(head)["content-length"])):
            break
        found = connection.recv(65536)
        assert found, f"closed after {answer!r}"
        answer += found
    return int(head.split()[1]), _headers(head), body


def test_overload_is_told_before_there_is_a_request(refusing: int) -> None:
    """Whole, in pieces, chunked, by HEAD, with a body to wait for: 503, Retry-After and the caller's id, and the
    connection goes on; a probe is answered."""
    body = scoring(2000).ljust(13_000)
    named = post(body, b"x-request-id: mine")
    with socket.create_connection(("127.0.0.1", refusing), timeout=5) as connection:
        for pieces in ([named], [named[:10], named[10:60], named[60:5000], named[5000:]]):
            status, headers, answer = ask(connection, *pieces)
            assert (status, headers["retry-after"] in "123", headers["x-request-id"]) == (503, True, "mine")
            assert headers["content-type"] == "application/problem+json"
            assert headers["cache-control"] == "no-store"
            problem = json.loads(answer)
            assert (problem["type"], problem["request_id"]) == ("urn:userip:problem:overloaded", "mine")
        assert ask(connection, *chunked(body))[0] == 503
        assert ask(connection, b"HEAD /score HTTP/1.1\r\n" + HOST + b"\r\n", bodiless=True)[2] == b""
        assert ask(connection, b"GET http://x/score HTTP/1.1\r\n" + HOST + b"\r\n")[0] == 503
        assert ask(connection, POST + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n")[0] == 503
    with socket.create_connection(("127.0.0.1", refusing), timeout=5) as connection:
        for query in (b"", b"?verbose"):
            probe = b"GET /healthz" + query + b" HTTP/1.1\r\n" + HOST + b"\r\n"
            assert ask(connection, probe)[::2] == (200, b"ok")


def test_pipelined_requests_are_refused_in_their_order(refusing: int) -> None:
    """A probe, a refused request and a probe sent in one piece are answered in this order."""
    probe = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    with socket.create_connection(("127.0.0.1", refusing), timeout=5) as connection:
        connection.sendall(probe + post(scoring(5)) + probe)
        answer = b""
        while answer.count(b"HTTP/1.1 ") < 3 or not answer.endswith(b"ok"):
            piece = connection.recv(65536)
            assert piece
            answer += piece
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"503", b"200"]


@pytest.mark.parametrize(
    "request_",
    [
        post(scoring(5)).replace(b"HTTP/1.1", b"HTTP/1.0"),
        post(scoring(5), b"connection: close"),
        post(b" " * 5_000_000),
        b"".join(chunked(b" " * 1_000_000)),
    ],
    ids=["old", "closing", "large", "large and chunked"],
)
def test_refused_connection_is_closed_where_it_must_be(full: int, request_: bytes) -> None:
    """By the client's wish, or when the body of a refused request has more bytes than any may have."""
    with socket.create_connection(("127.0.0.1", full), timeout=5) as connection:
        connection.settimeout(5)
        answer = b""
        try:
            connection.sendall(request_)
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionError:
            answer = answer or b"HTTP/1.1 503 cut off while it was still sending\r\nconnection: close\r\n"
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_connection_that_is_only_refused_is_no_idle_one(refusing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests on one connection for longer than an idle one is kept, each of them refused: it is not cut off."""
    for name, seconds in (("_LOOK_EVERY_S", 0.05), ("_IDLE_S", 0.5)):
        monkeypatch.setattr(protocol, name, seconds)
    with socket.create_connection(("127.0.0.1", refusing), timeout=5) as connection:
        begun = time.monotonic()
        while time.monotonic() - begun < 1.2:
            assert ask(connection, post(scoring(1)))[0] == 503


def test_refusals_that_nobody_takes_are_not_piled_up(full: int) -> None:
    """A client that asks on and on and reads no answer is soon read no more, and answered when it reads."""
    whole = GET.replace(b"healthz", b"score") + b"\r\n"
    with socket.socket() as connection:
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            connection.setsockopt(socket.SOL_SOCKET, buffer, 65536)
        connection.settimeout(1)
        connection.connect(("127.0.0.1", full))
        sent = 0
        with suppress(TimeoutError):
            while sent < 8_000_000:
                sent += connection.send(whole * 1000)
        assert sent < 8_000_000
        refused = 0
        while refused < 10_000:
            piece = connection.recv(65536)
            assert piece
            refused += piece.count(b"HTTP/1.1 503 ")


@pytest.fixture
def echo() -> Iterator[int]:
    """The protocol before an application that answers with the headers and the body that it was given; its port."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        seen = b"; ".join(b"%b=%b" % header for header in sorted(scope["headers"])) + b" | " + body
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(seen))]})
        await send({"type": "http.response.body", "body": seen})

    with running(app) as port:
        yield port


def test_trailers_are_no_headers(echo: int) -> None:
    """A key or an encoding in a trailer is not among the headers, in whichever packet it comes."""
    head = b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    trailers = b"x-api-key: secret\r\ncontent-encoding: gzip\r\n\r\n"
    with socket.create_connection(("127.0.0.1", echo), timeout=5) as connection:
        for pieces in ([head + trailers], [head, trailers], [head + trailers[:20], trailers[20:]]):
            assert ask(connection, *pieces)[2] == b"host=localhost; transfer-encoding=chunked | {}"


def test_wish_for_another_protocol_is_passed_over(echo: int) -> None:
    """Clients that try HTTP/2 by default are answered in HTTP/1.1, with their body, and go on."""
    wish = b"connection: keep-alive, Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    head = b"POST / HTTP/1.1\r\n" + HOST + wish + b"content-length: 4\r\n\r\n"
    with socket.create_connection(("127.0.0.1", echo), timeout=5) as connection:
        for pieces in ([head + b"body"], [head, b"bo", b"dy"], [head[:50], head[50:] + b"body"]):
            assert ask(connection, *pieces)[2] == b"connection=keep-alive; content-length=4; host=localhost | body"
        plain = b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 4\r\n\r\nmore"
        assert ask(connection, plain)[2] == b"content-length=4; host=localhost | more"
        connection.sendall(head + b"body" + plain)
        answers = b""
        while not answers.endswith(b"more"):
            answers += connection.recv(65536) or pytest.fail(f"closed after {answers!r}")
    assert answers.count(b"HTTP/1.1 200") == 2


def test_many_wishes_for_another_protocol_in_one_packet_are_answered(echo: int) -> None:
    """However many requests of that kind come at once, each has its answer."""
    wish = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    with socket.create_connection(("127.0.0.1", echo), timeout=5) as connection:
        connection.sendall(wish * 3000 + b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nlast")
        answers = b""
        while not answers.endswith(b"last"):
            answers += connection.recv(65536) or pytest.fail(f"closed after {answers.count(b'HTTP/1.1 200')} answers")
    assert answers.count(b"HTTP/1.1 200") == 3001


@pytest.mark.parametrize(
    "second", [b"GARBAGE\r\n\r\n", GET + many_headers(2000) + b"\r\n", GET + many_headers(9, 8000)]
)
def test_what_cannot_be_read_takes_no_answer_from_those_before(echo: int, second: bytes) -> None:
    """A good request with a bad one behind it in the same packet: the answer to the first, whole, then the end."""
    first = b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 4\r\n\r\nbody"
    with socket.create_connection(("127.0.0.1", echo), timeout=5) as connection:
        connection.sendall(first + second)
        answer = b""
        with suppress(ConnectionError):
            while piece := connection.recv(65536):
                answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.endswith(b"content-length=4; host=localhost | body")


def test_body_that_cannot_be_read_takes_no_answer_from_the_request_before(echo: int) -> None:
    """A good request, and in the same packet another one whose body goes wrong: each has its own answer, in order."""
    first = b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 4\r\n\r\nbody"
    with socket.create_connection(("127.0.0.1", echo), timeout=5) as connection:
        connection.sendall(first + POST + b"transfer-encoding: chunked\r\n\r\nZZ\r\n")
        answer = b""
        with suppress(ConnectionError):
            while piece := connection.recv(65536):
                answer += piece
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]
    assert b"content-length=4; host=localhost | bodyHTTP/1.1 " in answer
    assert b"\r\nconnection: close\r\n" in answer


def test_answer_that_has_begun_is_cut_short_and_holds_no_other() -> None:
    """A body that goes wrong while its answer is on the way: the connection ends, without a refusal in the answer."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    with running(app) as port, socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(POST + b"transfer-encoding: chunked\r\n\r\n")
        assert connection.recv(65536).endswith(b"begun")
        connection.sendall(b"ZZ\r\n")
        assert connection.recv(65536) == b""


def test_request_at_work_learns_that_its_client_left() -> None:
    """Also when the client had sent another one behind it, which is not begun."""
    begun: list[str] = []
    left = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["path"])
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    with running(app) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(GET + b"\r\n" + GET.replace(b"healthz", b"second") + b"\r\n")
            time.sleep(0.1)
        told = left.wait(5)
        assert told
    assert begun == ["/healthz"]


def test_probes_pass_a_worker_that_refuses_everything_within_their_budget(refusing: int) -> None:
    """However busy the worker is; who asks for far more probes than any monitor does waits as others do."""
    probe = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    with socket.create_connection(("127.0.0.1", refusing), timeout=5) as connection:
        seen = [ask(connection, probe)[0] for _ in range(10)]
        assert seen == [200] * 10
        connection.sendall(probe * 300)
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 300:
            answers += connection.recv(65536) or pytest.fail("closed")
    assert 0 < answers.count(b"HTTP/1.1 503 ") < 300
