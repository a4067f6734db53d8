"""Two workers of a real `userip serve` end at the same release: after a restart of one, after a failure of one."""

import os
import signal
import time
from pathlib import Path

import httpx2
import pytest

from tests.fixtures.process import ServeProcess, until, workers_of
from tests.fixtures.serving import publish
from tests.fixtures.tiny_release import TinyRelease, write_release
from userip.bank.opening import open_bank


def releases_served(service: ServeProcess) -> set[str]:
    """What new connections are answered with: each meets one of the workers."""
    found = set()
    for _ in range(16):
        try:
            response = httpx2.post(f"{service.url}/score", json={"user_id": "u1", "item_ids": ["plain"]}, timeout=10)
        except httpx2.TransportError:  # it went to the worker that was killed
            continue
        assert response.status_code == 200
        found.add(response.json()["release"])
    return found


def loads_of(service: ServeProcess, release: TinyRelease) -> int:
    """How often a worker went over to the release."""
    return sum((line["event"], line.get("release")) == ("reloaded", release.name) for line in service.lines())


def activate(url: str, release: str) -> None:
    bank = open_bank(url)
    bank.activate(release)
    bank.close()


def metric(service: ServeProcess, name: str) -> float:
    text = httpx2.get(f"{service.url}/metrics", timeout=10).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@pytest.mark.slow
def test_all_workers_end_at_the_active_release(tmp_path: Path, tiny: TinyRelease, redis_url: str) -> None:
    """Both follow; one killed meanwhile comes back with the active release; one that failed alone catches up."""
    second, third = (write_release(tmp_path / "releases" / f"{seed}", seed=seed) for seed in (1, 2))
    publish(redis_url, tiny.name)
    for release in (second, third):
        publish(redis_url, release.name, activate=False)
    arguments = ("--workers", "2", "--set", f"releases_dir={tmp_path / 'releases'}", "--set", "follow_seconds=0.1")
    with ServeProcess(tiny.path, redis_url, tmp_path / "log", *arguments) as service:
        until(lambda: len(workers_of(service)) == 2)
        assert releases_served(service) == {tiny.name}

        activate(redis_url, second.name)
        until(lambda: releases_served(service) == {second.name})
        until(lambda: metric(service, 'userip_reloads_total{outcome="done"}') == 2)

        # One worker dies, and the pointer moves before its successor is there.
        first = workers_of(service)
        os.kill(min(first), signal.SIGKILL)
        activate(redis_url, third.name)
        until(lambda: len(workers_of(service)) == 2 and workers_of(service) != first)
        until(lambda: releases_served(service) == {third.name} and metric(service, "userip_workers") == 2)

        # One worker sleeps while the other loads, then finds the directory altered.
        asleep = min(workers_of(service))
        os.kill(asleep, signal.SIGSTOP)
        try:
            activate(redis_url, second.name)
            until(lambda: loads_of(service, second) == 3)  # not by asking: what the sleeper accepts waits for long
            good = (second.path / "scorer.onnx").read_bytes()
            (second.path / "scorer.onnx").write_bytes(b"altered")
        finally:
            os.kill(asleep, signal.SIGCONT)
        until(lambda: metric(service, "userip_release_outdated") == 1)
        until(lambda: releases_served(service) == {second.name, third.name})
        (second.path / "scorer.onnx").write_bytes(good)
        until(lambda: releases_served(service) == {second.name})
        until(lambda: metric(service, "userip_release_outdated") == 0)
        assert service.stop() == 0
        events = [line for line in service.lines() if line["event"] == "reload failed"]
    assert [(line["release"], "sha256 differs" in line["problem"]) for line in events] == [(second.name, True)]


def test_closed_terminal_fells_no_worker(tmp_path: Path, tiny: TinyRelease, lmdb_url: str) -> None:
    """SIGHUP to a worker, as a terminal sends it to all of a group, is left to the parent to act on."""
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", "--workers", "2") as service:
        until(lambda: metric(service, "userip_workers ") == 2)
        workers = workers_of(service)
        for worker in workers:
            os.kill(worker, signal.SIGHUP)
        time.sleep(1)
        assert workers_of(service) == workers
        assert releases_served(service) == {tiny.name}
