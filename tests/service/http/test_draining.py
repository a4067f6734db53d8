"""SIGTERM under load: readiness turns false first, answers go on, and nobody is turned away."""

import signal
import threading
import time
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from tests.fixtures.process import ServeProcess
from tests.fixtures.tiny_release import TinyRelease

DRAIN = ("--set", "drain_seconds=1.5")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_worker_that_leaves_says_so_first_and_goes_on_answering(
    tmp_path: Path, tiny: TinyRelease, lmdb_url: str, workers: str
) -> None:
    """After SIGTERM `/readyz` says 503, new connections are answered and closed; then the service ends with 0."""
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", "--workers", workers, *DRAIN) as service:
        while sum(line["event"] == "serving" for line in service.lines()) < int(workers):
            time.sleep(0.05)
        assert "connection" not in service.score().headers
        service.process.send_signal(signal.SIGTERM)
        answers: list[httpx2.Response] = []
        try:
            while True:  # until the port is closed, each over a connection of its own
                ready = httpx2.get(f"{service.url}/readyz", timeout=5)
                answers.append(service.score())
                if ready.status_code == 503:
                    assert ready.json()["errors"][0]["field"] == "service"
                    assert httpx2.head(f"{service.url}/healthz", timeout=5).status_code == 200
                time.sleep(0.05)
        except httpx2.TransportError:
            pass
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["profile"] for answer in answers} == {"known"}
        assert "close" in {answer.headers.get("connection") for answer in answers}
        assert service.process.wait(timeout=20) == 0
        assert [line["seconds"] for line in service.lines() if line["event"] == "draining"] == [1.5] * int(workers)


def test_no_request_is_lost_between_sigterm_and_readiness(tmp_path: Path, tiny: TinyRelease, lmdb_url: str) -> None:
    """Clients that stop sending when `/readyz` says 503 see no failure at all, as behind a load balancer."""
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", *DRAIN) as service:
        out_of_rotation = threading.Event()
        statuses: list[int] = []

        def send() -> None:
            with httpx2.Client(base_url=service.url, timeout=5) as client:
                while not out_of_rotation.is_set():
                    body = {"user_id": "u1", "item_ids": ["plain"]}
                    statuses.append(client.post("/score", json=body).status_code)

        senders = [threading.Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        while len(statuses) < 2 * len(senders):  # all of them are under way
            time.sleep(0.01)
        service.process.send_signal(signal.SIGTERM)
        while service.client.get("/readyz").status_code == 200:
            time.sleep(0.02)
        before = len(statuses)
        time.sleep(0.3)  # the balancer takes a moment
        out_of_rotation.set()
        for sender in senders:
            sender.join()
        assert len(statuses) > before
        assert set(statuses) == {200}
        assert service.process.wait(timeout=20) == 0


def test_second_sigterm_ends_the_wait(tmp_path: Path, tiny: TinyRelease, lmdb_url: str) -> None:
    """Who does not want to wait says so twice."""
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", "--set", "drain_seconds=600") as service:
        service.process.send_signal(signal.SIGTERM)
        while service.client.get("/readyz").status_code == 200:
            time.sleep(0.02)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=20) == 0


def test_probes_answer_head_as_get(client: TestClient) -> None:
    """`HEAD` of a probe has the status and the headers of `GET`, and no body."""
    for path in ("/healthz", "/readyz"):
        asked, headed = client.get(path), client.head(path)
        assert (headed.status_code, headed.headers["content-type"]) == (200, asked.headers["content-type"])
