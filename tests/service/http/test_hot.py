"""Answers that are written as soon as their request is read, beside those of a task."""

import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fixtures.process import ServeProcess
from tests.fixtures.serving import publish
from tests.fixtures.tiny_release import write_release
from userip.loadtests.servers.redis_server import RedisServer

KNOWN = {"user_id": "u1", "item_ids": ["plain", "never", "i5"]}
BODIES: dict[str, tuple[object, ...]] = {
    "/score": (
        KNOWN,
        {"user_id": "nobody", "item_ids": ["plain"]},
        {"user_id": "u1", "item_ids": []},
        {"user_id": "u1", "item_ids": ["plain"], "context": {"none": "such"}},
        {"user_id": 3},
        {"user_id": "u1", "item_ids": ["plain"] * 1001},
    ),
    "/score/batch": ({"requests": [KNOWN, KNOWN]}, {"requests": []}, {"requests": [{}]}),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[ServeProcess]:
    """A service over Redis, whose cache has `u1`."""
    directory = tmp_path_factory.mktemp("hot")
    release = write_release(directory / "release")
    publish(f"{redis_server.url}/7", release.name)
    with ServeProcess(release.path, f"{redis_server.url}/7", directory / "log") as running:
        assert running.score().json()["profile"] == "known"
        yield running


def message(path: str, body: object, *headers: str, host: str = "host: 127.0.0.1") -> tuple[bytes, bytes]:
    """Head and body of a POST."""
    content = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", host, f"content-length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode(), content


def answers(service: ServeProcess, pieces: Sequence[bytes], count: int = 1) -> list[bytes]:
    """Send pieces apart, each when the one before was read, on a connection of their own; so many whole answers."""
    found = []
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, piece in enumerate(pieces):
            if number:
                assert service.client.get("/healthz").status_code == 200
            connection.sendall(piece)
        stream = connection.makefile("rb")
        for _ in range(count):
            head = b"".join(iter(stream.readline, b"\r\n"))
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            found.append(head + b"\r\n" + stream.read(length))
    return found


def without_time(answer: bytes) -> bytes:
    """What differs from one answer to the next left out."""
    lines = answer.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith((b"date: ", b"retry-after: ")))


@pytest.mark.parametrize("path", BODIES)
def test_answer_is_the_same_at_once_and_from_a_task(service: ServeProcess, path: str) -> None:
    """A request that comes whole is answered byte for byte like one whose body comes later, whether the cache has its
    user, the bank is asked, or it is refused."""
    for body in BODIES[path]:
        head, content = message(path, body, "x-request-id: r1")
        (whole,), (parts,) = answers(service, [head + content]), answers(service, [head, content])
        assert without_time(whole) == without_time(parts)
        assert b"x-request-id: r1" in whole


def test_pipelined_requests_are_answered_in_their_order(service: ServeProcess) -> None:
    """More than are worked on at once, some of which have to wait for the bank, in one packet."""
    users = ["u1", "nobody", "u1", "u2"] * 5
    packet = b"".join(b"".join(message("/score", {"user_id": user, "item_ids": ["plain"]})) for user in users)
    found = answers(service, [packet], len(users))
    assert [json.loads(answer.partition(b"\r\n\r\n")[2])["user_id"] for answer in found] == users


def test_connection_is_closed_where_the_client_asks_for_it(service: ServeProcess) -> None:
    """`Connection: close` is heard and said; HTTP/1.0 as well."""
    head, content = message("/score", KNOWN, "connection: close")
    for request in (head + content, (head + content).replace(b"HTTP/1.1", b"HTTP/1.0")):
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
            connection.sendall(request)
            whole = connection.makefile("rb").read()  # to the end
        assert b"\r\nconnection: close\r\n" in whole
        assert json.loads(whole.partition(b"\r\n\r\n")[2])["profile"] == "known"


def test_what_is_answered_at_once_is_counted_and_logged(tmp_path: Path) -> None:
    """Every request is in the metrics with its stages, and in the access log, once."""
    release = write_release(tmp_path / "release")
    publish(f"lmdb://{tmp_path}/bank", release.name)
    with ServeProcess(
        release.path, f"lmdb://{tmp_path}/bank", tmp_path / "log", "--set", "access_log_sample_rate=1"
    ) as service:
        for _ in range(5):
            service.score()
        text = service.client.get("/metrics").text
        for line in (
            'userip_http_requests_total{method="POST",route="/score",status="200"} 5.0',
            'userip_http_request_duration_seconds_count{outcome="ok",route="/score"} 5.0',
            'userip_cache_lookups_total{result="hit"} 4.0',
            'userip_profile_lookups_total{outcome="known"} 5.0',
            *(f'userip_stage_duration_seconds_count{{stage="{stage}"}} 5.0' for stage in ("decode", "score", "encode")),
        ):
            assert line in text
        lines = [line for line in service.lines() if line.get("route") == "/score"]
        assert [(line["status"], line["candidates"], line["profiles"]) for line in lines] == [(200, 2, ["known"])] * 5
        assert len({line["request_id"] for line in lines}) == 5
