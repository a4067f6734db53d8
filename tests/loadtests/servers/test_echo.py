"""The prebuilt answer that the service is measured against."""

import sys
from pathlib import Path

from starlette.testclient import TestClient

from userip.loadtests.servers.cores import available_cores
from userip.loadtests.servers.echo import make_app
from userip.loadtests.servers.processes import start
from userip.loadtests.servers.redis_server import free_port

ANSWER = b'{"user_id":"u","scores":[0.5,0.25]}'


def test_whatever_is_asked_the_answer_is_the_same_bytes() -> None:
    """POST /score gives the bytes as JSON; a GET is refused, as by the service."""
    with TestClient(make_app(ANSWER)) as client:
        for body in (b"", b'{"user_id":"u"}', bytes(300_000)):
            answer = client.post("/score", content=body)
            assert (answer.status_code, answer.content) == (200, ANSWER)
            assert answer.headers["content-type"] == "application/json"
        assert client.get("/score").status_code == 405
        assert client.get("/readyz").status_code == 200


def test_the_program_serves_the_file(tmp_path: Path) -> None:
    """Started as the bench starts it, it is ready on the given port and gives the file's bytes."""
    (tmp_path / "answer.json").write_bytes(ANSWER)
    port = free_port()
    command = [sys.executable, "-m", "userip.loadtests.servers.echo", str(tmp_path / "answer.json"), str(port)]
    server = start("echo", command, port, tmp_path / "log", available_cores())
    try:
        assert server.ask("POST", "/score", b"{}")[:2] == (200, ANSWER)
    finally:
        server.stop()
