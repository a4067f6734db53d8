"""SIGTERM under load: readiness turns false first, answers go on, and nobody is turned away."""

import os
import signal
import threading
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from tests.fixtures.process import ServeProcess, until, workers_of
from tests.fixtures.tiny_release import TinyRelease

# Until a second SIGTERM: the test says when it has seen enough, however slow the machine is.
DRAIN = ("--set", "drain_seconds=600")


def count(service: ServeProcess, event: str) -> int:
    """How many workers have said so in the log."""
    return sum(line["event"] == event for line in service.lines())


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_that_leaves_says_so_first_and_goes_on_answering(
    tmp_path: Path, tiny: TinyRelease, lmdb_url: str, workers: int
) -> None:
    """After SIGTERM `/readyz` says 503, new connections are answered and closed; then the service ends with 0."""
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", "--workers", str(workers), *DRAIN) as service:
        until(lambda: count(service, "serving") == workers)
        assert "connection" not in service.score().headers
        leaving = workers_of(service) or {service.process.pid}
        service.process.send_signal(signal.SIGTERM)
        until(lambda: count(service, "draining") == workers)
        for _ in range(20):  # each over a connection of its own
            ready = httpx2.get(f"{service.url}/readyz", timeout=20)
            assert ready.status_code == 503
            assert ready.json()["errors"][0]["field"] == "service"
            assert httpx2.head(f"{service.url}/healthz", timeout=20).status_code == 200
            answer = service.score()
            assert (answer.status_code, answer.json()["profile"]) == (200, "known")
            assert answer.headers["connection"] == "close"
        for worker in leaving:
            os.kill(worker, signal.SIGTERM)
        assert service.process.wait(timeout=40) == 0


def test_no_request_is_lost_between_sigterm_and_readiness(tmp_path: Path, tiny: TinyRelease, lmdb_url: str) -> None:
    """Clients that stop sending when `/readyz` says 503 see no failure at all, as behind a load balancer."""
    patient = ("--set", "queue_delay_target_ms=5000", "--set", "deadline_ms=20000")  # what is asked is not refused
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", *DRAIN, *patient) as service:
        out_of_rotation = threading.Event()
        statuses: list[int] = []

        def send() -> None:
            with httpx2.Client(base_url=service.url, timeout=20) as client:
                while not out_of_rotation.is_set():
                    body = {"user_id": "u1", "item_ids": ["plain"]}
                    statuses.append(client.post("/score", json=body).status_code)

        senders = [threading.Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        until(lambda: len(statuses) >= 2 * len(senders))  # all of them are under way
        service.process.send_signal(signal.SIGTERM)
        until(lambda: service.client.get("/readyz").status_code == 503)
        before = len(statuses)
        until(lambda: len(statuses) >= before + 5 * len(senders))  # the balancer takes a moment
        out_of_rotation.set()
        for sender in senders:
            sender.join()
        assert set(statuses) == {200}
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=40) == 0


def test_the_wait_ends_by_itself(tmp_path: Path, tiny: TinyRelease, lmdb_url: str) -> None:
    """After `drain_seconds` the service leaves."""
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", "--set", "drain_seconds=0.5") as service:
        assert service.stop() == 0
        assert [line["seconds"] for line in service.lines() if line["event"] == "draining"] == [0.5]


def test_second_sigterm_ends_the_wait(tmp_path: Path, tiny: TinyRelease, lmdb_url: str) -> None:
    """Who does not want to wait says so twice."""
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", *DRAIN) as service:
        service.process.send_signal(signal.SIGTERM)
        until(lambda: service.client.get("/readyz").status_code == 503)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=20) == 0


def test_probes_answer_head_as_get(client: TestClient) -> None:
    """`HEAD` of a probe has the status and the headers of `GET`, and no body."""
    for path in ("/healthz", "/readyz"):
        asked, headed = client.get(path), client.head(path)
        assert (headed.status_code, headed.headers["content-type"]) == (200, asked.headers["content-type"])
