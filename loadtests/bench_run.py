"""One bench's servers and requests: measures one window of one variant."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import Final, Protocol

from userip.loadtests.errors import LoadTestError
from userip.loadtests.results import Row
from userip.loadtests.scenarios import Scenario
from userip.loadtests.servers.cores import available_cores, rss_mb
from userip.loadtests.servers.processes import Servers
from userip.loadtests.traffic.answers import Expected, Oracle, expect_codes, expect_scores, write_expected
from userip.loadtests.traffic.drivers import drive
from userip.loadtests.traffic.figures import Figures
from userip.loadtests.traffic.generator import Plan
from userip.loadtests.traffic.workload import Population, Workload, make_workload
from userip.training.threads import one_thread

_SAMPLES: Final = 25  # answers of ours, of which the echo server gives one of the usual length


class Subject(Protocol):
    """A variant: a release directory and what its right scores are."""

    @property
    def release(self) -> Path:
        """The release directory."""

    @property
    def oracle(self) -> Oracle:
        """Its right scores."""


class BenchRun:
    """Redis with all variants published; servers and request files are made when a scenario wants them.

    A context manager: at the end every process has ended.
    """

    def __init__(self, directory: Path, subjects: Mapping[str, Subject], population: Population, seed: int) -> None:
        self._subjects, self._population, self._seed = subjects, population, seed
        self._requests = directory / "requests"
        shutil.rmtree(self._requests, ignore_errors=True)
        self._requests.mkdir(parents=True)
        self._workloads: dict[str, Workload] = {}
        self._has_echo = False
        self.servers = Servers(directory / "logs", available_cores())

    def publish(self) -> None:
        """Write every variant into the bank."""
        for name, subject in self._subjects.items():
            self.servers.publish(name, subject.release)

    def measure(self, scenario: Scenario, variant: str, repeat: int, rate: float | None) -> Row:
        """One window; the row of it. Raises LoadTestError for a server or generator that fails."""
        if "echo" in scenario.variants and not self._has_echo:
            self._make_echo(scenario)
        server = self.servers.serve(scenario)[variant]
        expected = self._expected_file(scenario, variant)
        plan = Plan(
            port=server.port,
            workload=str(self._workload_file(scenario)),
            expected=str(expected) if expected else None,
            connections=scenario.connections,
            seconds=scenario.seconds,
            warm_up=scenario.warm_up,
            rate=rate,
            prefill=repeat == 0 and scenario.cache == "warm" and variant != "echo",
            seed=self._seed + repeat,
            server=server.pid,
        )
        cores = self.servers.cores(scenario.workers)
        seen = drive(plan, scenario.generator, cores.load[0])
        return _row(scenario, variant, repeat, rate, seen) | {"rss_mb": rss_mb(server.pid), "apart": cores.apart}

    def _make_echo(self, scenario: Scenario) -> None:
        ours = replace(scenario, variants=("userip",))
        server, workload = self.servers.serve(ours)["userip"], self._workload(scenario)
        answers = {}
        for index in range(_SAMPLES):
            status, answer, _ = server.ask("POST", "/score", workload.body(index))
            if status != 200:
                raise LoadTestError(f"userip: POST /score gave {status}: {answer[:300].decode()}")
            answers[len(answer)] = answer
        self.servers.echo(answers[median_low(answers)])
        self._has_echo = True

    def _workload(self, scenario: Scenario) -> Workload:
        name = self._workload_file(scenario).stem
        return self._workloads[name]

    def _workload_file(self, scenario: Scenario) -> Path:
        name = f"{scenario.route.strip('/').replace('/', '-')}-{scenario.batch}x{scenario.candidates}"
        file = self._requests / f"{name}.json"
        if name not in self._workloads:
            workload = make_workload(
                self._population, scenario.route, scenario.candidates, scenario.batch, seed=self._seed
            )
            self._workloads[name] = workload
            workload.write(file)
        return file

    def _expected_file(self, scenario: Scenario, variant: str) -> Path | None:
        """The right answers; none for echo, which does not know them."""
        if variant not in self._subjects:
            return None
        workload_file = self._workload_file(scenario)
        file = workload_file.with_name(f"{workload_file.stem}-{variant}.json")
        if not file.exists():
            write_expected(self._expect(self._workload(scenario), self._subjects[variant]), file)
        return file

    def _expect(self, workload: Workload, subject: Subject) -> Expected:
        if workload.route == "/profile":
            return expect_codes(workload, subject.release)
        with one_thread():  # a user's candidates are a small batch; on busy cores threads would wait for each other
            return expect_scores(workload, subject.oracle)

    def __enter__(self) -> "BenchRun":
        return self

    def __exit__(self, *_: object) -> None:
        self.servers.stop()


def _row(scenario: Scenario, variant: str, repeat: int, rate: float | None, seen: Figures) -> Row:
    """`seconds_per_10k` says how long 10,000 instances take at saturation: it needs a closed loop.

    `server_us` is the server's processor time per answer: what a busy machine hardly changes.
    """
    pairs = seen.throughput * scenario.instances
    return {
        "variant": variant,
        "scenario": scenario.name,
        "route": scenario.route,
        "candidates": scenario.candidates,
        "batch": scenario.batch,
        "rate": rate,
        "connections": scenario.connections,
        "workers": scenario.workers,
        "cache": scenario.cache,
        "generator": scenario.generator,
        "repeat": repeat,
        "seconds": scenario.seconds,
        "seconds_per_10k": 10_000 / pairs if scenario.closed and pairs else None,
        "server_us": 1e6 * seen.server_cpu / seen.throughput if seen.server_cpu and seen.throughput else None,
        **seen.row(),
    }
