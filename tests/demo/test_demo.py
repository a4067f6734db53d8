"""`userip demo`, in small: from nothing to answers, again without work, on a terminal, and when things go wrong."""

import os
import pty
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.fixtures.process import command, environment
from tests.training.tiny_run import HASTE, SETTINGS
from userip.demo.service import DemoService, port_to_use
from userip.processes import ServerError
from userip.training.errors import ConfigError

SMALL = ["--users", "60", "--items", "60"] + [
    part for setting in (*SETTINGS, *HASTE) for part in ("--set", setting)
]  # fmt: skip


def _demo(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("demo", "--out", out, *SMALL, *arguments),
        env=environment({"OMP_NUM_THREADS": "1"}),
        cwd=out.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A demo from nothing, without a terminal."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    return out, _demo(out)


@pytest.mark.slow
def test_from_nothing_to_answers(first: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """It shows every command, asks the service six things, explains the answers, stops the service and exits 0."""
    out, done = first
    assert done.returncode == 0, done.stderr
    for said in (
        "$ userip simulate --out",
        "$ userip train --dataset",
        "$ userip publish --release",
        "$ userip serve --release",
        '"status":"ready"',
        "was simulated with hobby",
        "profile: 'known' for user-",
        "'default' for somebody-new",
        "hobby: code ",
        "-> 422 application/problem+json",
        "userip_http_requests_total{",
        "The service is stopped.",
    ):
        assert said in done.stdout
    assert "next:" not in done.stdout
    assert "Traceback" not in done.stderr
    assert {entry.name for entry in out.iterdir()} == {
        "data",
        "run",
        "bank",
        "demo.json",
        "facets.toml",
        "serve.log",
    }


@pytest.mark.slow
def test_again_on_a_terminal(first: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """A second demo redoes no step; on a terminal it serves until Ctrl-C, then stops the service and exits 0."""
    out, _ = first
    port = port_to_use(0)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command("demo", "--out", out, *SMALL, "--port", str(port)),
        env=environment({"OMP_NUM_THREADS": "1", "TERM": "dumb"}),
        cwd=out.parent,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    try:
        said = _read_until(leader, "Ctrl-C stops it.")
        assert "started" not in said
        assert said.count("done before, kept") == 6  # the data and five steps
        assert f"curl -s http://127.0.0.1:{port}/score -d" in said
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        process.send_signal(signal.SIGINT)
        said = _read_until(leader, "The service is stopped.")
        assert process.wait(timeout=30) == 0
        assert "Traceback" not in said
    finally:
        process.terminate()
        process.wait(timeout=30)
        os.close(leader)
    assert port_to_use(port) == port  # nobody listens there any more


@pytest.mark.slow
def test_another_size_is_made_anew(first: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """Finished parts of a demo of another size are not passed off as this one's."""
    out, _ = first
    done = _demo(out, "--users", "70")
    assert done.returncode == 0, done.stderr
    assert "70 users" in done.stdout
    assert "language: started" in done.stderr


def test_a_taken_port_is_told_before_any_work(tmp_path: Path) -> None:
    """One clear line, exit code 2, and nothing was made."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = _demo(tmp_path / "demo", "--port", str(port))
        with pytest.raises(ConfigError, match="is taken"):
            port_to_use(port)
    assert done.returncode == 2
    assert done.stderr == f"userip: --port {port}: is taken; give another one, or 0 for a free one\n"
    assert list((tmp_path / "demo").iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Exit code 2, naming the folder and what is in it."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").touch()
    done = _demo(tmp_path / "demo")
    assert done.returncode == 2
    assert done.stderr.startswith(f"userip: --out {tmp_path / 'demo'}: has files of something else (thesis.txt)")


def test_a_service_that_does_not_start_is_told_in_one_line(tmp_path: Path) -> None:
    """The error carries the exit code, the last line of the log, and where the log is."""
    log = tmp_path / "serve.log"
    with (
        pytest.raises(ServerError) as error,
        DemoService(tmp_path / "no-release", f"lmdb://{tmp_path}/bank", port_to_use(0), log),
    ):
        pass
    assert "the service ended with exit code 2" in str(error.value)
    assert "no-release" in str(error.value)
    assert str(log) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_service_that_dies_is_told_in_one_line(
    first: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Killed between two requests, it is an error that says so, not a traceback of sockets."""
    out, _ = first
    with DemoService(out / "run" / "release", f"lmdb://{out}/bank", port_to_use(0), tmp_path / "log") as service:
        assert service.get("/healthz").status == 200
        service._process.kill()
        service._process.wait()
        with pytest.raises(ServerError, match="the service ended with exit code -9"):
            service.get("/healthz")
        with pytest.raises(ServerError, match="the service ended with exit code -9"):
            service.wait()


def _read_until(terminal: int, text: str, seconds: float = 120) -> str:
    """What is printed on the terminal until `text` appears."""
    said = b""
    deadline = time.monotonic() + seconds
    while text.encode() not in said and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                said += os.read(terminal, 65536)
            except OSError:  # Linux says EIO when the other side is closed
                break
    assert text.encode() in said, said.decode()
    return said.decode()
