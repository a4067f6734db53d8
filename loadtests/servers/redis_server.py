"""A private redis-server on a free loopback port, for tests and benchmarks. It keeps nothing on disk."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import redis

MISSING = (
    "redis-server is not installed: `apt-get install redis-server`, `brew install redis`, "
    "or `make test`, which installs it."
)

# Below what the system gives to outgoing connections, which else may take a port before its server does.
_PORTS: Final = range(15_000, 32_000)


def free_port() -> int:
    """A loopback port that was free a moment ago, drawn at random: processes that ask at once get different ones."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RedisServer:
    """A redis-server process; further `arguments` are its options, such as "--maxmemory", "50mb".

    Raises FileNotFoundError where redis-server is missing, RuntimeError with its log when it does not start.
    """

    def __init__(self, *arguments: str, port: int | None = None) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise FileNotFoundError(MISSING)
        self.arguments = arguments
        self.port = free_port() if port is None else port
        self.directory = Path(tempfile.mkdtemp(prefix="userip-redis-"))
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The bank URL of database 0."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server is stopped"
        return self._process.pid

    def client(self) -> redis.Redis:
        """A plain client of database 0; close it after use."""
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=10)

    def start(self) -> None:
        """Start, empty, on the same port as before; return when it answers."""
        log = self.directory / "redis.log"
        self.directory.mkdir(exist_ok=True)
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        options += ["--dir", str(self.directory), *self.arguments]
        with log.open("wb") as output:
            self._process = subprocess.Popen([self._program, *options], stdout=output, stderr=output)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.02)
        words = log.read_text()
        self.stop()
        raise RuntimeError(f"redis-server did not start: {words}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(64)[:1] in (b"+", b"-")  # -NOAUTH is an answer, too
        except OSError:
            return False

    def pause(self) -> None:
        """SIGSTOP: the server holds its connections and answers nothing. Returns once it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        # The signal is on its way only: until it arrives the server still answers.
        status = Path(f"/proc/{self.pid}/stat")
        end = time.monotonic() + 10
        while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "T":
            if time.monotonic() > end:
                raise RuntimeError(f"redis-server {self.pid} did not stop within 10 s of SIGSTOP")
            time.sleep(0.001)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: what it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the process and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "RedisServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
