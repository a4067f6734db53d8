"""The service as a process: start, workers, a bank that stops, and SIGTERM."""

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx2
import pytest

from tests.fixtures.process import ServeProcess, command, environment, until
from tests.fixtures.serving import publish
from tests.fixtures.tiny_release import TinyRelease, write_release
from userip.loadtests.servers.redis_server import RedisServer, free_port


def start_fails(cwd: Path, *arguments: str | Path) -> str:
    """`userip serve` must end with 2 and one line, which is returned."""
    done = subprocess.run(
        command("serve", *arguments),
        capture_output=True,
        text=True,
        env=environment(),
        cwd=cwd,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("userip: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_start_names_what_is_missing_and_how_to_mend_it(tmp_path: Path, tiny: TinyRelease, redis_url: str) -> None:
    """Missing setting or file, altered file, unpublished release, taken port: one line each, exit code 2."""
    missing = start_fails(tmp_path, "--release", tiny.path)
    assert "bank_url" in missing
    assert "--bank or USERIP_BANK_URL" in missing
    bank = ("--bank", redis_url)
    assert f"{tmp_path}/none/manifest.json: not found" in start_fails(tmp_path, "--release", tmp_path / "none", *bank)
    for url in (redis_url, f"lmdb://{tmp_path}/nowhere"):
        line = start_fails(tmp_path, "--release", tiny.path, "--bank", url)
        assert f"userip publish --release {tiny.path} --bank {url}" in line
    publish(redis_url, tiny.name)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = start_fails(tmp_path, "--release", tiny.path, *bank, "--port", str(port))
        assert f"cannot listen on 127.0.0.1:{port}" in line
    assert "allow_unauthenticated=true" in start_fails(tmp_path, "--release", tiny.path, *bank, "--host", "0.0.0.0")
    assert "no_keys: No such file" in start_fails(tmp_path, "--release", tiny.path, *bank, "--set", "keys_file=no_keys")
    for setting in ("releases_dir=nowhere", "runtime_dir=/proc/nowhere"):
        line = start_fails(tmp_path, "--release", tiny.path, *bank, "--workers", "2", "--set", setting)
        assert f"{setting.replace('=', ' ')}: " in line
    assert "--set colour" in start_fails(tmp_path, "--release", tiny.path, *bank, "--set", "colour")
    (tiny.path / "scorer.onnx").write_bytes(b"altered")
    assert "scorer.onnx: sha256 differs" in start_fails(tmp_path, "--release", tiny.path, *bank)


def test_password_of_the_bank_is_not_shown(tmp_path: Path, tiny: TinyRelease) -> None:
    """Neither the log of a start without a bank nor an error holds the password."""
    url = f"redis://reader:hush-hush@127.0.0.1:{free_port()}"
    with ServeProcess(tiny.path, url, tmp_path / "log") as service:
        assert service.score().json()["profile"] == "unavailable"
        assert service.client.get("/readyz").status_code == 503
        assert service.stop() == 0
    text = (tmp_path / "log").read_text()
    assert "hush" not in text
    assert "bank does not answer" in text
    assert "hush" not in start_fails(tmp_path, "--release", tmp_path / "none", "--bank", url)


def test_bank_that_stops_is_bridged_within_the_deadline_and_found_again(
    tmp_path: Path, tiny: TinyRelease, redis_server: RedisServer, redis_url: str
) -> None:
    """While redis-server is stopped: 200 and `unavailable` within the deadline; soon after, `known`."""
    publish(redis_url, tiny.name)
    arguments = ("--set", "bank_deadline_ms=50", "--set", "cache_records=0")
    with ServeProcess(tiny.path, redis_url, tmp_path / "log", *arguments) as service:
        begun = time.monotonic()
        while (known := service.score()).json()["profile"] != "known":
            assert time.monotonic() - begun < 20  # a first read may miss 50 ms on a busy machine
        redis_server.pause()
        try:
            seconds = []
            for _ in range(20):
                started = time.perf_counter()
                answer = service.score()
                seconds.append(time.perf_counter() - started)
                assert answer.status_code == 200
                assert answer.json()["profile"] == "unavailable"
                assert answer.json()["scores"] == pytest.approx(list(tiny.expected(["plain", "i5"])), abs=1e-6)
            # The deadline is 50 ms; the rest is room for a busy machine. Without a deadline there is no answer.
            assert sorted(seconds)[10] < 0.5
            assert max(seconds) < 5
            assert service.client.get("/readyz").status_code == 503
            assert service.client.get("/healthz").status_code == 200
        finally:
            redis_server.resume()
        resumed = time.monotonic()
        while service.score().json()["profile"] != "known":
            assert time.monotonic() - resumed < 20
        until(lambda: service.score().json() == known.json())  # any read may miss 50 ms on a busy machine
        until(lambda: service.client.get("/readyz").status_code == 200)
        assert service.stop() == 0
        events = [line["event"] for line in service.lines()]
    assert events.count("bank reads fail; default profiles are served") == 1
    assert events.count("bank is back") == 1


def test_bank_file_that_is_cut_short_costs_no_worker_and_is_found_again(
    tmp_path: Path, tiny: TinyRelease, lmdb_url: str
) -> None:
    """Answers go on with default profiles, log and metric say so; whole again, it is read; no service starts on it."""
    data = Path(lmdb_url.removeprefix("lmdb://"), "data.mdb")
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", "--set", "cache_records=0") as service:
        assert service.score().json()["profile"] == "known"
        whole = data.read_bytes()
        os.truncate(data, 4096)
        for _ in range(3):
            assert service.score().json()["profile"] == "unavailable"
        assert 'userip_bank_failures_total{reason="unavailable"}' in service.client.get("/metrics").text
        line = start_fails(tmp_path, "--release", tiny.path, "--bank", lmdb_url)
        assert "data.mdb is cut short" in line
        data.write_bytes(whole)
        restored = time.monotonic()
        while service.score().json()["profile"] != "known":
            assert time.monotonic() - restored < 20
        assert service.stop() == 0
        problems = [line.get("problem", "") for line in service.lines()]
    assert sum("data.mdb is cut short" in problem for problem in problems) == 1


def test_service_that_is_to_outlive_its_terminal_does(tmp_path: Path, tiny: TinyRelease, lmdb_url: str) -> None:
    """Started with SIGHUP ignored, as nohup does, it goes on answering."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        service = ServeProcess(tiny.path, lmdb_url, tmp_path / "log")
    finally:
        signal.signal(signal.SIGHUP, before)
    with service:
        service.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert service.score().status_code == 200


def test_closed_terminal_ends_the_service_in_order(tmp_path: Path, tiny: TinyRelease, lmdb_url: str) -> None:
    """SIGHUP is taken as SIGTERM: what is in flight is finished, the end is logged, the exit code is 0."""
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log") as service:
        service.process.send_signal(signal.SIGHUP)
        assert service.process.wait(20) == 0
        assert [line for line in service.lines() if line["event"] == "stopped"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_request_in_flight_at_sigterm_is_answered(
    tmp_path: Path, tiny: TinyRelease, redis_server: RedisServer, redis_url: str, workers: str
) -> None:
    """A request that waits for the bank at SIGTERM still gets its answer; then the service ends with 0."""
    publish(redis_url, tiny.name)
    settings = ("bank_deadline_ms=3000", "deadline_ms=9000", "cache_records=0")
    arguments = ("--workers", workers, *(part for setting in settings for part in ("--set", setting)))
    with ServeProcess(tiny.path, redis_url, tmp_path / "log", *arguments) as service:
        assert service.score().json()["profile"] == "known"
        answers: list[httpx2.Response] = []
        redis_server.pause()
        try:
            waiting = threading.Thread(target=lambda: answers.append(service.score()))
            waiting.start()
            # It and the one that asks; another worker tells of it twice a second.
            until(lambda: "userip_in_flight 2.0" in httpx2.get(f"{service.url}/metrics", timeout=10).text)
            assert answers == []
            service.process.send_signal(signal.SIGTERM)
            waiting.join(timeout=10)
        finally:
            redis_server.resume()
        assert [answer.status_code for answer in answers] == [200]
        assert answers[0].json()["profile"] == "unavailable"
        assert service.process.wait(timeout=20) == 0
        assert all("Traceback" not in str(line) for line in service.lines())


def test_workers_share_port_metrics_and_reloads(tmp_path: Path, tiny: TinyRelease, lmdb_url: str) -> None:
    """Two workers answer on one port, `/metrics` adds them up, and a reload of one reaches the other."""
    arguments = ("--workers", "2", "--set", "follow_bank=off")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {"USERIP_ADMIN_KEY": "key", "TMPDIR": str(temporary)}
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", *arguments, env=env) as service:
        # A connection stays with the worker that took it, so new ones are made to meet both.
        def ask(path: str = "/score") -> httpx2.Response:
            body = {"user_id": "u1", "item_ids": ["plain"]} if path == "/score" else {}
            return httpx2.post(f"{service.url}{path}", json=body, headers={"x-api-key": "key"}, timeout=10)

        for _ in range(60):
            assert ask().json()["profile"] == "known"
        sixty = 'userip_http_requests_total{method="POST",route="/score",status="200"} 60.0'
        begun = time.monotonic()
        while sixty not in (text := service.client.get("/metrics").text):  # workers tell each other twice a second
            assert time.monotonic() - begun < 20
            time.sleep(0.1)
        assert "userip_in_flight 1.0" in text
        assert "userip_workers 2.0" in text
        assert 'userip_http_request_duration_seconds_count{outcome="ok",route="/score"} 60.0' in text
        assert 'userip_stage_duration_seconds_bucket{le="+Inf",stage="score"} 60.0' in text
        assert 'userip_candidates_bucket{le="1.0"} 60.0' in text

        second = write_release(tiny.path, seed=1)
        publish(lmdb_url, second.name)
        assert ask("/admin/reload").json() == {"release": second.name, "before": tiny.name}
        until(lambda: {ask().json()["release"] for _ in range(40)} == {second.name})
        assert len(list(temporary.iterdir())) == 1
        until(lambda: 'userip_reloads_total{outcome="done"} 2.0' in service.client.get("/metrics").text)
        assert service.stop() == 0
    assert list(temporary.iterdir()) == []
