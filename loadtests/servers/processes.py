"""The servers under test: started as an operator starts them, kept on their cores, stopped whatever happens."""

import contextlib
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from userip.bank import open_bank
from userip.loadtests.errors import GeneratorError, LoadTestError
from userip.loadtests.scenarios import Cache, Scenario
from userip.loadtests.servers.cores import Cores, pin, share_out
from userip.loadtests.servers.redis_server import RedisServer, free_port
from userip.ops.publish import publish_release
from userip.processes import Server, environment, userip_command

KEPT_RECORDS: Final[Mapping[Cache, int]] = {"off": 0, "cold": 1}  # warm: the default
# The settings that load tests vary, and why. Everything else is the default: what people run is what is measured.
VARIED: Final[Mapping[str, str]] = {
    "workers": "scenarios with several",
    "cache_records": "cache off, or so small that records come and go",
    "cache_ttl_seconds": "soak: records age within it",
    "replica_dir": "outage with a replica",
    "replica_seconds": "outage with a replica that is new",
    "releases_dir": "swaps: where the releases are",
    "follow_seconds": "swaps: two hundred of them within a minute",
    "admin_key": "swaps: reloads are asked for",
}


def run_to_end(command: Sequence[str], given: str = "", cores: Iterable[int] = (), timeout: float = 600) -> str:
    """Run a program on `cores` (empty: any); its stdout. Raises GeneratorError with the last line that it said."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            if cores:
                pin(process.pid, cores)
            out, err = process.communicate(given, timeout=timeout)
        except BaseException as error:
            process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise GeneratorError(f"{' '.join(command[:3])}: not done after {timeout:.0f} s") from None
            raise
    if process.returncode:
        said = (err.strip() or out.strip() or "nothing").splitlines()[-1]
        raise GeneratorError(f"{' '.join(command[:3])}: exit code {process.returncode}: {said}")
    return out


def serve(name: str, release: Path, bank: str, log: Path, cores: Iterable[int], *settings: str) -> Server:
    """`userip serve` on a free port with these settings (`name=value`), of VARIED. Raises ServerError."""
    if others := {setting.partition("=")[0] for setting in settings} - VARIED.keys():
        raise LoadTestError(f"{name}: load tests run with default settings but for VARIED; got {sorted(others)}")
    port = free_port()
    command = userip_command("serve", "--release", release, "--bank", bank, "--port", str(port))
    command += [part for setting in settings for part in ("--set", setting)]
    return start(name, command, port, log, cores)


def start(name: str, command: Sequence[str], port: int, log: Path, cores: Iterable[int]) -> Server:
    """A server on `cores`, ready. Raises ServerError."""
    server = Server(name, command, port, log)
    pin(server.pid, cores)
    server.await_ready()
    pin(server.pid, cores)  # what it started in between
    return server


@dataclass(frozen=True)
class Key:
    """Servers that are alike: one serves all scenarios that want such a one."""

    variant: str
    cache: Cache
    workers: int


class Servers:
    """Redis with every release published, and the servers that the present scenario needs; `stop` ends them all."""

    def __init__(self, directory: Path, available: Iterable[int]) -> None:
        self._directory, self._available = directory, tuple(available)
        self._releases: dict[str, tuple[Path, str]] = {}
        self._echo_answer: Path | None = None
        self._servers: dict[Key, Server] = {}
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self.redis = RedisServer()
        except (FileNotFoundError, RuntimeError) as error:
            raise LoadTestError(str(error)) from None

    def cores(self, workers: int) -> Cores:
        """Who runs where, with so many workers."""
        return share_out(self._available, workers)

    def publish(self, variant: str, release: Path) -> None:
        """Write a release's records into a database of its own, where it is the active one."""
        url = f"{self.redis.url}/{len(self._releases)}"
        with contextlib.closing(open_bank(url)) as bank:
            publish_release(release, bank)
        self._releases[variant] = (release, url)

    def echo(self, answer: bytes) -> None:
        """The answer that the echo server gives."""
        self._echo_answer = self._directory / "echo-answer.json"
        self._echo_answer.write_bytes(answer)

    def serve(self, scenario: Scenario) -> dict[str, Server]:
        """The servers of the scenario's variants; those that it does not need are stopped."""
        pin(self.redis.pid, self.cores(scenario.workers).redis)
        keys = {variant: self._key(variant, scenario) for variant in scenario.variants}
        for key in [key for key in self._servers if key not in keys.values()]:
            self._servers.pop(key).stop()
        for key in keys.values():
            if key not in self._servers:
                self._servers[key] = self._start(key)
        return {variant: self._servers[key] for variant, key in keys.items()}

    def stop(self) -> None:
        """End every process."""
        for server in self._servers.values():
            server.stop()
        self._servers.clear()
        self.redis.stop()

    def _key(self, variant: str, scenario: Scenario) -> Key:
        return Key(variant, "off", 1) if variant == "echo" else Key(variant, scenario.cache, scenario.workers)

    def _start(self, key: Key) -> Server:
        log = self._directory / f"{key.variant}-{key.cache}-{key.workers}.log"
        cores = self.cores(key.workers).service
        if key.variant != "echo":
            return serve(key.variant, *self._releases[key.variant], log, cores, *_settings(key))
        assert self._echo_answer is not None, "the answer is set before the server is asked for"
        port = free_port()
        command = [sys.executable, "-m", "userip.loadtests.servers.echo", str(self._echo_answer), str(port)]
        return start("echo", command, port, log, cores)


def _settings(key: Key) -> list[str]:
    """What the scenario is there to vary; everything else is as people run it."""
    kept = [] if key.cache == "warm" else [f"cache_records={KEPT_RECORDS[key.cache]}"]
    return [f"workers={key.workers}", *kept]
