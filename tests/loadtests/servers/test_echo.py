"""The prebuilt answer that the service is measured against."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from userip.loadtests.servers.echo import make_app

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


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "answer.json").write_bytes(ANSWER)
    command = [
        sys.executable,
        "-m",
        "userip.loadtests.servers.echo",
        "--answer",
        str(tmp_path / "answer.json"),
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def test_the_program_says_where_it_serves(address: str) -> None:
    """The first line on stdout is the URL, which answers soon after."""
    transport = httpx2.HTTPTransport(retries=8)
    with httpx2.Client(transport=transport, base_url=address, timeout=10) as client:
        assert client.post("/score", content=b"{}").content == ANSWER


def test_a_missing_answer_is_named() -> None:
    """One line that names option and file, exit code 2."""
    command = [sys.executable, "-m", "userip.loadtests.servers.echo", "--answer", "/nowhere/answer.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "echo: --answer /nowhere/answer.json: No such file or directory; name a file with the answer's bytes"
    ]
