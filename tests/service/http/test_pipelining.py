"""What waits of one connection: little, answered in order, and freed when its client has gone."""

import gc
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tests.fixtures.process import ServeProcess, until
from tests.fixtures.serving import publish
from tests.fixtures.tiny_release import write_release
from tests.service.http.test_protocol import GET, post, running, scoring
from userip.service.http.protocol import HardenedHttpProtocol

PROFILE = GET.replace(b"/healthz", b"/profile/u1") + b"\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A service with default settings."""
    place = tmp_path_factory.mktemp("pipelining")
    tiny = write_release(place / "release")
    publish(f"lmdb://{place}/bank", tiny.name)
    with ServeProcess(tiny.path, f"lmdb://{place}/bank", place / "log") as running:
        yield running


def resident_mb(service: ServeProcess) -> float:
    """Of the one worker."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.parametrize(
    "request_", [GET.replace(b"healthz", b"nowhere") + b"\r\n", PROFILE, post(scoring(2))], ids=["small", "get", "post"]
)
def test_client_that_takes_no_answers_costs_next_to_nothing(service: ServeProcess, request_: bytes) -> None:
    """Eight connections that send as fast as they are read and read nothing: a few megabytes, while others are
    answered. Taken apart without a bound they would be hundreds of megabytes within these seconds."""
    assert service.score().status_code == 200
    before, ends = resident_mb(service), time.monotonic() + 3
    blocked = []

    def flood() -> None:
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.settimeout(0.5)
            while time.monotonic() < ends:
                try:
                    connection.send(request_ * 1000)
                except TimeoutError:
                    blocked.append(connection)

    floods = [threading.Thread(target=flood) for _ in range(8)]
    for each in floods:
        each.start()
    most = before
    while time.monotonic() < ends:
        most = max(most, resident_mb(service))
        time.sleep(0.05)
    for each in floods:
        each.join()
    assert len(set(blocked)) == 8  # reading has stopped
    assert most - before < 16
    assert service.score().status_code == 200


@pytest.mark.parametrize("count", [16, 3000])
def test_pipelined_requests_are_answered_in_their_order(service: ServeProcess, count: int) -> None:
    """Each once and in order, however many are sent at once, and bodies of many pieces between them."""
    sent = b"".join(
        post(scoring(1 if number % 51 else 900), b"x-request-id: n%d" % number) if number % 2
        else PROFILE[:-2] + b"x-request-id: n%d\r\n\r\n" % number
        for number in range(count)
    )  # fmt: skip
    answers = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        sender = threading.Thread(target=connection.sendall, args=(sent,))
        sender.start()
        while answers.count(b"x-request-id: ") < count:
            piece = connection.recv(1 << 20)
            assert piece, f"closed after {answers[-1000:]!r}"
            answers += piece
        sender.join()
    names = re.findall(rb"HTTP/1.1 200 OK\r\n(?:[^\r]+\r\n)*?x-request-id: n([0-9]+)\r\n", answers)
    assert [int(name) for name in names] == list(range(count))


def living(kind: type) -> int:
    """Objects that nobody has freed, without looking for those that only refer to each other."""
    return sum(type(each) is kind for each in gc.get_objects())


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_requests_of_a_client_that_has_gone_are_freed_at_once(reset: bool) -> None:
    """Those that waited as well as the one at work, without a collection of garbage, which is made rare."""
    begun = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    with running(app) as port:
        gc.collect()
        gc.disable()
        try:
            assert living(RequestResponseCycle) == 0
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(PROFILE * 50)
                assert begun.wait(5)
                until(lambda: living(RequestResponseCycle) == 50)
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            until(lambda: living(RequestResponseCycle) + living(HardenedHttpProtocol) == 0)
        finally:
            gc.enable()
