"""Servers as child processes: started as an operator starts them, asked over HTTP, ended whatever happens."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple, NoReturn, Self

import userip
from userip.errors import UserIPError

HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_ANSWER_SECONDS: Final = 60.0


class ServerError(UserIPError):
    """A server did not get ready, has ended, or does not answer. The message names its log."""


class Answer(NamedTuple):
    """Status, body and content type of a response."""

    status: int
    body: bytes
    kind: str

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object."""
        content: dict[str, Any] = json.loads(self.body)
        return content


class Server:
    """A server process on the loopback port `port`; its output goes to `log`. A context manager: ready, then ended."""

    def __init__(self, name: str, command: Sequence[str], port: int, log: Path) -> None:
        self.name, self.port, self.log = name, port, log
        with log.open("wb") as output:
            # A session of its own: Ctrl-C reaches this program alone, which then stops its servers in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment(),
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def await_ready(self) -> None:
        """Return when GET /readyz gives 200. Raises ServerError with the end of the log, and has stopped it then."""
        deadline = time.monotonic() + _START_SECONDS
        try:
            while self._process.poll() is None:
                with contextlib.suppress(ServerError):  # not listening yet
                    if self.ask("GET", "/readyz").status == http.HTTPStatus.OK:
                        return
                if time.monotonic() > deadline:
                    raise ServerError(f"{self.name} was not ready within {_START_SECONDS:.0f} s; its log: {self.log}")
                time.sleep(0.05)
            raise self._ended()
        except BaseException:
            self.stop()
            raise

    def ask(self, method: str, path: str, body: bytes | str | None = None, key: str = "") -> Answer:
        """One answer. Raises ServerError where none comes."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_ANSWER_SECONDS)
        try:
            connection.request(method, path, body, {"content-type": "application/json", "x-api-key": key})
            response = connection.getresponse()
            return Answer(response.status, response.read(), response.getheader("content-type", ""))
        except (OSError, http.client.HTTPException) as error:
            if self._process.poll() is not None:
                raise self._ended() from None
            raise ServerError(f"{self.name} does not answer {path} ({error}); its log: {self.log}") from None
        finally:
            connection.close()

    def wait(self) -> NoReturn:
        """Until it ends by itself, which is an error."""
        self._process.wait()
        raise self._ended()

    def stop(self) -> None:
        """End it, and workers that outlived it."""
        stop(self._process, _STOP_SECONDS)

    def __enter__(self) -> Self:
        self.await_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ended(self) -> ServerError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = f": {lines[-1]}" if lines else ""
        return ServerError(f"{self.name} ended with exit code {self._process.returncode}{last} ({self.log})")


def environment() -> dict[str, str]:
    """This shell's environment without its own settings of the service; this `userip` can be imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("USERIP_")}
    paths = [str(Path(userip.__file__).parents[1]), kept.get("PYTHONPATH", "")]
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def userip_command(*arguments: str | Path) -> list[str]:
    """`userip ARGUMENTS` in this interpreter."""
    return [sys.executable, "-m", "userip", *map(str, arguments)]


def stop(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """SIGTERM; SIGKILL if it is still there after `seconds`. One that leads a process group takes the group with it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # no group of this number exists unless the process leads one
    process.kill()
    process.wait()


def interrupt_on_signals() -> None:
    """SIGTERM and a closed terminal end this program as Ctrl-C does, so that its `with` blocks stop what they started.

    SIGINT is named too: a shell starts background jobs with it switched off. What `nohup` switched off stays so.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
