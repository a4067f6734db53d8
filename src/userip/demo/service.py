"""The demo's service: `userip serve` as a process of its own, and plain HTTP to it."""

import errno
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from userip.processes import stop
from userip.training.errors import ConfigError, TrainingError

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0


class DemoServiceError(TrainingError):
    """The service of the demo did not start, or has died. The message says where its log is."""


class Answer(NamedTuple):
    """Status, content type and body of a response."""

    status: int
    kind: str
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object."""
        content: dict[str, Any] = json.loads(self.body)
        return content


def port_to_use(port: int) -> int:
    """`port`, or for 0 one that is free. Raises ConfigError when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            said = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise ConfigError(f"--port {port}: {said}; give another one, or 0 for a free one") from None
        return int(probe.getsockname()[1])


class DemoService:
    """A running service; a context manager. Started ready, stopped at the end, also after an error.

    `examples` are shell commands that repeat what was asked of it.
    """

    def __init__(self, release: Path, bank: str, port: int, log: Path) -> None:
        self.url = f"http://{HOST}:{port}"
        self.examples: list[str] = []
        self._port, self._log = port, log
        flags = ["--release", str(release), "--bank", bank, "--host", HOST, "--port", str(port), "--workers", "1"]
        # This shell's settings of a service are meant for another one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("USERIP_")}
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "userip", "serve", *flags],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the demo alone, which then stops the service in order
            )

    def __enter__(self) -> "DemoService":
        try:
            self._await_ready()
        except BaseException:
            stop(self._process, STOP_SECONDS)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop(self._process, STOP_SECONDS)

    def get(self, path: str) -> Answer:
        """GET a path."""
        self.examples.append(f"curl -s {self.url}{path}")
        return self._ask("GET", path, None)

    def post(self, path: str, content: object) -> Answer:
        """POST an object as JSON."""
        body = json.dumps(content)
        self.examples.append(f"curl -s {self.url}{path} -d '{body}'")
        return self._ask("POST", path, body)

    def wait(self) -> None:
        """Until the service ends by itself, which is an error."""
        self._process.wait()
        raise self._dead()

    def _ask(self, method: str, path: str, body: str | None) -> Answer:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=10)
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            return Answer(response.status, response.getheader("content-type", ""), response.read())
        except (OSError, http.client.HTTPException) as error:
            if self._process.poll() is not None:
                raise self._dead() from None
            raise DemoServiceError(f"the service does not answer ({error}); see its log {self._log}") from None
        finally:
            connection.close()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None:
            try:
                if self._ask("GET", "/readyz", None).status == http.HTTPStatus.OK:
                    return
            except DemoServiceError:
                pass  # not listening yet; a service that died is told below
            if time.monotonic() > deadline:
                raise DemoServiceError(f"the service was not ready within {START_SECONDS:.0f} s; its log: {self._log}")
            time.sleep(0.1)
        raise self._dead()

    def _dead(self) -> DemoServiceError:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = f": {lines[-1]}" if lines else ""
        return DemoServiceError(f"the service ended with exit code {self._process.returncode}{last} ({self._log})")
