"""Rows 9 and 14: more than can be borne, and bodies that are made to hurt. Nobody dies of it."""

import asyncio
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from tests.fixtures.process import ServeProcess
from tests.fixtures.serving import publish
from tests.fixtures.tiny_release import TinyRelease
from userip.loadtests.servers.redis_server import RedisServer
from userip.service.app import create_app
from userip.service.settings import Settings

GOOD = {"user_id": "u1", "item_ids": ["plain"]}


def test_row_9_more_than_can_be_borne(start_redis: Callable[..., RedisServer], tiny: TinyRelease) -> None:
    """Ten times the places in flight at once: as many as there are places are answered, the rest gets 503 and when
    to come again; afterwards everybody is answered."""
    server = start_redis()
    publish(server.url, tiny.name)
    settings: dict[str, Any] = {
        "cache_records": 0,
        "breaker_failures": 0,
        "max_in_flight": 4,
        "queue_delay_target_ms": 60_000,
    }
    app = create_app(Settings(release_dir=tiny.path, bank_url=SecretStr(server.url), **settings))

    async def scenario() -> None:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as many:
            server.pause()  # every answer takes as long as the bank's deadline
            try:
                answers = await asyncio.gather(*(many.post("/score", json=GOOD) for _ in range(40)))
            finally:
                server.resume()
            refused = [answer for answer in answers if answer.status_code != 200]
            assert len(answers) - len(refused) == 4
            assert {answer.status_code for answer in refused} == {503}
            assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
            assert [(await many.post("/score", json=GOOD)).status_code for _ in range(5)] == [200] * 5

    asyncio.run(scenario())


def _megabytes(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b" " * (1 << 20)


def test_row_14_bodies_made_to_hurt(tmp_path: Path, tiny: TinyRelease, lmdb_url: str) -> None:
    """50 MB, stated or streamed, a gzip bomb, NaN, NUL, huge, many and odd ids: 4xx each, and the worker lives on."""
    bomb = b"\x1f\x8b\x08" + bytes(100_000)
    plain = {"content-type": "application/json"}
    bodies: list[tuple[bytes | Iterator[bytes], dict[str, str], set[int]]] = [
        (b" " * (50 << 20), plain, {413}),
        (_megabytes(50), plain, {413}),
        (bomb, plain | {"content-encoding": "gzip"}, {415}),
        (b'{"user_id": NaN, "item_ids": ["a"]}', plain, {400, 422}),
        (b'{"user_id": "a\\u0000", "item_ids": ["a"]}', plain, {422}),
        (b'{"user_id": "u", "item_ids": ["' + b"x" * 500_000 + b'"]}', plain, {422}),
        (json.dumps({"user_id": "u", "item_ids": ["a"] * 100_000}).encode(), plain, {422}),
        (b"[" * 500_000, plain, {400, 422}),
        (b"", plain, {400}),
    ]
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log") as service:
        for body, headers, statuses in bodies:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
            try:
                connection.request("POST", "/score", body, headers, encode_chunked=not isinstance(body, bytes))
                assert connection.getresponse().status in statuses
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was sent: the answer may be lost with the connection
            finally:
                connection.close()
        empty = {"user_id": "u1", "item_ids": []}
        twice = {"user_id": "u1", "item_ids": ["plain", "plain"]}
        assert [service.client.post("/score", json=body).status_code for body in (empty, twice)] == [200, 200]
        assert service.process.poll() is None
        assert service.stop() == 0


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_row_14_clients_that_never_finish(tmp_path: Path, tiny: TinyRelease, lmdb_url: str, share: float) -> None:
    """Four times as many half-sent requests as there are places: others are answered, the half-sent get 503 in time."""
    body = json.dumps(GOOD).encode()
    settings = ("--set", "max_in_flight=8", "--set", "deadline_ms=1500")
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", *settings) as service:
        slow = [http.client.HTTPConnection("127.0.0.1", service.port, timeout=20) for _ in range(32)]
        for connection in slow:
            connection.putrequest("POST", "/score")
            connection.putheader("content-length", str(len(body)))
            connection.endheaders()
            connection.send(body[: int(share * len(body))])
        assert [service.score().status_code for _ in range(20)] == [200] * 20
        statuses = [connection.getresponse().status for connection in slow]
        for connection in slow:
            connection.close()
        assert statuses == [503] * 32
        assert service.score().status_code == 200
