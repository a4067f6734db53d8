"""The demo's service: `userip serve` as a process of its own, and what was asked of it as shell commands."""

import errno
import json
import socket
from pathlib import Path

from userip.processes import HOST, Answer, Server, userip_command
from userip.training.errors import ConfigError


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


class DemoService(Server):
    """A running service. `examples` are shell commands that repeat what was asked of it."""

    def __init__(self, release: Path, bank: str, port: int, log: Path) -> None:
        flags = ("--release", release, "--bank", bank, "--host", HOST, "--port", str(port), "--workers", "1")
        super().__init__("the service", userip_command("serve", *flags), port, log)
        self.url = f"http://{HOST}:{port}"
        self.examples: list[str] = []

    def get(self, path: str) -> Answer:
        """GET a path."""
        self.examples.append(f"curl -s {self.url}{path}")
        return self.ask("GET", path)

    def post(self, path: str, content: object) -> Answer:
        """POST an object as JSON."""
        body = json.dumps(content)
        self.examples.append(f"curl -s {self.url}{path} -d '{body}'")
        return self.ask("POST", path, body)
