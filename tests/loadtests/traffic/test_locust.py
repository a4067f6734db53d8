"""Locust sends the same requests, and its figures are read exactly."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.loadtests.small_server import SmallServer
from userip.loadtests.traffic.drivers import drive
from userip.loadtests.traffic.generator import Plan
from userip.loadtests.traffic.workload import Population, make_workload
from userip.processes import environment

PEOPLE = Population(("u", "v"), ("a", "b", "c", "d"))


def _plan(directory: Path, port: int, rate: float | None = None) -> Plan:
    workload = make_workload(PEOPLE, "/score", 3, 1)
    workload.write(directory / "w.json")
    right = {i: [{"user_id": workload.asks[i][0].user_id, "scores": [0.5]}] for i in range(len(workload))}
    (directory / "e.json").write_text(json.dumps(right))
    files = (str(directory / "w.json"), str(directory / "e.json"))
    return Plan(port, *files, connections=2, seconds=1.0, warm_up=1.0, rate=rate, server=1)


def _answer(_: str, body: bytes) -> tuple[int, bytes]:
    """Right for u, wrong for v."""
    return 200, b'{"user_id":"u","scores":[0.5]}'


@pytest.mark.parametrize("rate", [None, 60.0])
def test_locust_sends_the_pool_and_verifies(tmp_path: Path, rate: float | None) -> None:
    """In both loops: bodies of the pool, wrong answers seen, latencies finer than Locust's own milliseconds."""
    with SmallServer(_answer) as server:
        seen = drive(_plan(tmp_path, server.port, rate), "locust", 0)
        bodies = {body for _, _, body in server.asked}
    workload = make_workload(PEOPLE, "/score", 3, 1)
    assert bodies <= {workload.body(i) for i in range(len(workload))}
    assert seen.verified == seen.requests > 0
    assert 0 < seen.wrong < seen.verified
    assert seen.failed == 0
    assert any(ms != round(ms) for _, ms in seen.quantiles)
    if rate is None:
        assert seen.late_ms is None
    else:
        assert abs(seen.requests - rate) < 6 * rate**0.5


def test_locust_says_what_it_needs() -> None:
    """Without a release or a workload: one line."""
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--headless", "--loglevel", "ERROR"]
    command += ["--host", "http://127.0.0.1:1"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3], env=environment()
    )
    assert done.returncode == 1
    assert "locustfile: give --release RUN/release" in done.stderr


def test_a_pool_is_asked_for_before_by_our_own_generator(tmp_path: Path) -> None:
    """With prefill every request of the pool was sent, whatever generator follows."""
    with SmallServer(_answer) as server:
        plan = _plan(tmp_path, server.port, rate=5.0)
        workload = make_workload(PEOPLE, "/score", 1000, 1)  # a small pool
        workload.write(Path(plan.workload))
        drive(replace(plan, prefill=True, expected=None), "locust", 0)
        first = [body for _, _, body in server.asked[: len(workload)]]
    assert sorted(first) == sorted(workload.body(i) for i in range(len(workload)))
