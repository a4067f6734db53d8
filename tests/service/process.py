"""`userip serve` as a process of its own, as an operator starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2

from userip.loadtests.servers.redis_server import free_port

ROOT = Path(__file__).parents[2]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This shell's environment without its own USERIP settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("USERIP_")}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(extra or {})


def command(*arguments: str | Path) -> list[str]:
    """`userip ARGUMENTS` in this interpreter."""
    return [sys.executable, "-m", "userip", *map(str, arguments)]


class ServeProcess:
    """A running service; `client` talks to it over a kept connection. Ends with SIGKILL if still there."""

    def __init__(
        self, release: Path, bank: str | None, log: Path, *arguments: str, env: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        named = () if bank is None else ("--bank", bank)  # None: the environment says it
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                command("serve", "--release", release, *named, "--port", str(self.port), *arguments),
                stderr=stderr,
                env=environment(env),
                cwd=log.parent,
            )
        self.client = httpx2.Client(base_url=self.url, timeout=10)
        self._await_start()

    def _await_start(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx2.get(f"{self.url}/healthz", timeout=1).status_code == 200:
                    return
            except httpx2.TransportError:
                time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"the service did not start: {self.log.read_text()}")

    def score(self, user_id: str = "u1") -> httpx2.Response:
        """One request, on the kept connection."""
        return self.client.post("/score", json={"user_id": user_id, "item_ids": ["plain", "i5"]})

    def lines(self) -> list[Mapping[str, Any]]:
        """The log so far; every line must be JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def __enter__(self) -> "ServeProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.stop()
