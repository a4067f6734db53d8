"""The load generator sends what it should, when it should, and counts what comes back."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.loadtests.small_server import SmallServer
from userip.loadtests.servers.redis_server import free_port
from userip.loadtests.traffic.answers import Verifier
from userip.loadtests.traffic.generator import LoadGenerator, Plan, generate
from userip.loadtests.traffic.wire import Connection, WireError
from userip.loadtests.traffic.workload import Population, make_workload

PEOPLE = Population(("u", "v"), ("a", "b", "c", "d"))


@pytest.fixture
def pool(tmp_path: Path) -> str:
    """A pool of requests for /score with two candidates."""
    make_workload(PEOPLE, "/score", 2).write(tmp_path / "w.json")
    return str(tmp_path / "w.json")


def _echo(_: str, body: bytes) -> tuple[int, bytes]:
    return 200, body


def test_closed_loop_asks_the_pool_and_counts(pool: str) -> None:
    """Every request that was sent in the window is counted once; bodies are those of the pool."""
    with SmallServer(_echo) as server:
        seen = generate(Plan(server.port, pool, connections=3, seconds=0.4, warm_up=0.0))
        asked = list(server.asked)
    workload = make_workload(PEOPLE, "/score", 2)
    bodies = {workload.body(i) for i in range(len(workload))}
    assert seen.requests == len(asked) > 0
    assert {body for _, _, body in asked} <= bodies
    assert (seen.failed, seen.verified, seen.late_ms) == (0, 0, None)
    assert seen.throughput == pytest.approx(seen.requests / 0.4)


def test_warm_up_is_not_counted(pool: str) -> None:
    """What was sent before the window is left out of every figure."""
    with SmallServer(_echo) as server:
        seen = generate(Plan(server.port, pool, connections=1, seconds=0.2, warm_up=0.2))
        assert seen.requests < len(server.asked)


def test_prefill_asks_for_the_whole_pool_once(tmp_path: Path) -> None:
    """Before the load, each request of the pool is sent."""
    workload = make_workload(PEOPLE, "/score", 4, 1000)  # the smallest pool
    workload.write(tmp_path / "w.json")
    with SmallServer(_echo) as server:
        generate(Plan(server.port, str(tmp_path / "w.json"), connections=2, seconds=0.01, warm_up=0, prefill=True))
        first = [body for _, _, body in server.asked[: len(workload)]]
    assert sorted(first) == sorted(workload.body(i) for i in range(len(workload)))


def test_open_loop_keeps_its_rate_and_is_a_poisson_process(pool: str) -> None:
    """The number of arrivals is Poisson's: within five standard deviations of rate * seconds."""
    with SmallServer(_echo) as server:
        seen = generate(Plan(server.port, pool, connections=8, seconds=1.0, warm_up=0.0, rate=300.0, seed=2))
    assert abs(seen.requests + seen.failed - 300) < 5 * 300**0.5
    assert seen.late_ms is not None


def test_a_stall_is_felt_by_all_requests_that_fall_into_it(pool: str) -> None:
    """Open loop: while the server stands still for 0.4 s of 1 s, the requests due then wait: no coordinated
    omission. A closed loop on one connection would note one slow answer only."""
    begin: list[float] = []

    def stalling(_: str, body: bytes) -> tuple[int, bytes]:
        now = time.monotonic()
        begin.append(now)
        if 0.3 <= now - begin[0] < 0.7:
            time.sleep(begin[0] + 0.7 - now)
        return 200, body

    with SmallServer(stalling) as server:
        seen = generate(Plan(server.port, pool, connections=4, seconds=1.0, warm_up=0.0, rate=200.0))
    assert seen.requests > 100
    slow = 1 - max((share for share, ms in seen.quantiles if ms < 50), default=0.0)
    assert slow > 0.25  # 0.35 s of arrivals wait 50 ms or longer


def test_requests_that_could_not_be_sent_have_failed(pool: str) -> None:
    """Open loop against a server that answers three times too slowly: nothing that was due is forgotten.

    Within the time of grace what is due is sent, late.
    """

    def slow(_: str, body: bytes) -> tuple[int, bytes]:
        time.sleep(0.03)
        return 200, body

    with SmallServer(slow) as server:
        seen = generate(Plan(server.port, pool, connections=1, seconds=0.6, warm_up=0.0, rate=100.0, seed=1, grace=0.2))
        late = generate(Plan(server.port, pool, connections=2, seconds=0.2, warm_up=0.0, rate=100.0, seed=1))
    assert abs(seen.requests + seen.failed - 60) < 5 * 60**0.5
    assert seen.failed > seen.requests / 2
    assert seen.failures["not sent"] >= seen.failed - 1
    assert abs(late.requests - 20) < 5 * 20**0.5
    assert late.failed == 0


def test_other_statuses_and_broken_connections_are_failures(pool: str) -> None:
    """A 503 is no throughput; a connection that the server closes is opened again."""
    count = iter(range(10**9))

    def flaky(_: str, body: bytes) -> tuple[int, bytes]:
        return (503 if next(count) % 4 == 3 else 200), body

    with SmallServer(flaky) as server:
        seen = generate(Plan(server.port, pool, connections=1, seconds=0.3, warm_up=0.0))
        asked = len(server.asked)
    assert seen.failures == {"status 503": asked // 4}
    assert seen.requests == asked - asked // 4


def test_an_idle_connection_that_is_closed_takes_one_request_at_a_time(pool: str) -> None:
    """The server closes what is idle for 0.2 s: no request has failed, and all that come after it are answered."""
    messages = make_workload(PEOPLE, "/score", 2).messages("h")
    with SmallServer(_echo, idle_s=0.2) as server:
        generator = LoadGenerator(Plan(server.port, pool, connections=2, grace=1.0), messages, Verifier({}))
        start = time.perf_counter()
        due = [start, *[start + 0.3] * 4]
        generator.run(iter(range(5)), start + 0.4, iter(due), start)
        generator.close()
        asked = [body for _, _, body in server.asked]
    assert (len(generator.latencies), sum(generator.failures.values())) == (5, 0)
    assert sorted(asked) == sorted(make_workload(PEOPLE, "/score", 2).body(i) for i in range(5))


def test_answers_are_verified_under_load(tmp_path: Path, pool: str) -> None:
    """Right answers are counted as verified, another user's as wrong."""
    workload = make_workload(PEOPLE, "/score", 2)
    right = {i: [{"user_id": workload.asks[i][0].user_id, "scores": [0.1, 0.2]}] for i in range(0, 4096, 2)}
    (tmp_path / "e.json").write_text(json.dumps(right))

    def always_u(_: str, body: bytes) -> tuple[int, bytes]:
        return 200, b'{"user_id":"u","scores":[0.1,0.2]}'

    with SmallServer(always_u) as server:
        seen = generate(Plan(server.port, pool, str(tmp_path / "e.json"), seconds=0.3, warm_up=0.0, connections=1))
        asked = [json.loads(body)["user_id"] for _, _, body in server.asked]
    assert 0.4 < seen.verified / seen.requests < 0.6
    assert 0 < seen.wrong < seen.verified
    assert seen.wrong == pytest.approx(asked.count("v") / 2, abs=0.25 * asked.count("v"))


def test_as_a_process_it_prints_its_figures(pool: str) -> None:
    """One JSON object on stdout; a server that is not there is one line and exit code 1."""
    with SmallServer(_echo) as server:
        done = _process({"port": server.port, "workload": pool, "seconds": 0.2, "connections": 1})
    row = json.loads(done.stdout)
    assert row["requests"] > 0
    assert 0 < row["generator_cpu"] <= 1.5
    assert np.all(np.diff([ms for _, ms in row["quantiles"]]) >= 0)
    away = _process({"port": free_port(), "workload": pool})
    assert away.returncode == 1
    assert away.stderr.startswith("generator: http://127.0.0.1:")
    assert away.stderr.count("\n") == 1


def _process(plan: dict[str, object]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "userip.loadtests.traffic.generator"]
    return subprocess.run(
        command, input=json.dumps(plan), capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3]
    )


def test_an_answer_in_pieces_is_put_together() -> None:
    """Byte by byte, head and body; two answers on one connection are kept apart."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(*listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            for body in (b"first", b""):
                got = None
                for byte in b"HTTP/1.1 200 OK\r\nContent-LENGTH: %d\r\nx: y\r\n\r\n%s" % (len(body), body):
                    assert got is None
                    peer.sendall(bytes([byte]))
                    got = connection.receive()
                assert got == (200, body)
            peer.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            with pytest.raises(WireError, match="Content-Length"):
                connection.receive()
            peer.close()
            with pytest.raises(WireError, match="closed"):
                connection.receive()
        connection.close()
