"""What the fault tests work on: a redis-server with a release in it, a service over both, and traffic that notes all.

The release is one of `loadtests.variants`: random weights, but every user has a record of their own, so that another
user's scores show.
"""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from userip.loadtests.servers.cores import available_cores, pin, share_out
from userip.loadtests.servers.processes import run_to_end, serve
from userip.loadtests.servers.redis_server import RedisServer
from userip.loadtests.traffic.generator import LoadGenerator, Plan, arrivals
from userip.loadtests.traffic.wire import Connection
from userip.loadtests.traffic.workload import Workload, make_workload, population_of_release
from userip.loadtests.variants import build_variants
from userip.processes import HOST, Server, userip_command

USERS: Final = 2_000
ITEMS: Final = 2_000
_START_S: Final = 0.05  # until the first request: what is due while a run is made ready would come as one burst


class Answered(NamedTuple):
    """One request: seconds on `time.perf_counter`, `waited` of them for a connection; status (0: it broke);
    what was said of the profile."""

    due: float
    latency: float
    status: int
    profile: str
    waited: float = 0.0


class Traffic(LoadGenerator):
    """Notes every answer, and counts the `wrong` ones of known users.

    right: whether the answer to a request, by its number, is right; by default it is where it is, byte for byte, the
    one that the same request got at first.
    """

    def __init__(
        self, port: int, workload: Workload, connections: int, right: Callable[[int, bytes], bool] | None = None
    ) -> None:
        self._workload = workload
        self._rng = np.random.default_rng(0)
        self._first: dict[int, bytes] = {}
        self._right = right or (lambda index, body: self._first.setdefault(index, body) == body)
        self.answers: list[Answered] = []
        self.wrong = 0
        plan = Plan(port=port, workload="", connections=connections)
        super().__init__(plan, workload.messages(f"{HOST}:{port}"))

    def ask_everything(self) -> None:
        """Ask each request of the pool once, as the answers to compare with."""
        self.run(iter(range(len(self._workload))), time.perf_counter() + 120, None, 0.0)
        self.answers.clear()

    def at_rate(self, rate: float, seconds: float, *, patient: bool = True) -> list[Answered]:
        """Poisson arrivals for so long; their answers, in the order in which they came."""
        start = time.perf_counter() + _START_S
        return self._run(start + seconds, arrivals(rate, start, start + seconds, self._rng), patient=patient)

    def at_most(self, seconds: float) -> list[Answered]:
        """As many as the service answers: each connection sends when it has its answer."""
        return self._run(time.perf_counter() + seconds, None)

    def _run(self, until: float, due: Iterator[float] | None, *, patient: bool = True) -> list[Answered]:
        self.answers = []
        order = (index % len(self._workload) for index in count(int(self._rng.integers(len(self._workload)))))
        gc.disable()  # this process holds so much that a collection takes a third of a second, and looks like an outage
        try:
            self.run(order, until, due, 0.0, patient=patient)
        finally:
            gc.enable()
        return self.answers

    def _take(self, connection: Connection, answer: tuple[int, bytes], measure_from: float) -> None:
        now = connection.free = time.perf_counter()
        status, body = answer
        profile = "known" if b'"profile":"known"' in body else "default" if b'"profile":"default"' in body else ""
        if status == 200 and not profile:
            profile = "unavailable"
        self.wrong += profile == "known" and not self._right(connection.index, body)
        waited = connection.sent - connection.due
        self.answers.append(Answered(connection.due, now - connection.due, status, profile, waited))

    def _fail(self, connection: Connection, measure_from: float, why: object) -> None:
        self.answers.append(Answered(connection.due, time.perf_counter() - connection.due, 0, ""))
        super()._fail(connection, measure_from, why)


class FaultRig:
    """Redis, a published release and, from `serve` on, a service. A context manager: at the end all have ended."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._number = count()
        self.service: Server | None = None
        self.cores = share_out(available_cores(), 1)
        self.release = build_variants(None, directory, ["userip"], users=USERS, items=ITEMS)["userip"].release
        self.redis = RedisServer()
        try:
            pin(self.redis.pid, self.cores.redis)
            self.publish()
        except BaseException:
            self.redis.stop()
            raise

    def publish(self, bank: str = "") -> None:
        """Write the release into Redis, or into `bank`, and activate it."""
        run_to_end(userip_command("publish", "--release", self.release, "--bank", bank or self.redis.url))

    def serve(self, *settings: str, bank: str = "") -> Server:
        """Start the service over Redis, or over `bank`, with these settings, in place of the one before."""
        self.stop_service()
        log = self.directory / f"service-{next(self._number)}.log"
        self.service = serve("service", self.release, bank or self.redis.url, log, self.cores.service, *settings)
        return self.service

    def traffic(self, candidates: int = 100, connections: int = 64) -> Traffic:
        """Connections to the service, users by Zipf's law."""
        assert self.service is not None, "serve first"
        workload = make_workload(population_of_release(self.release), "/score", candidates)
        return Traffic(self.service.port, workload, connections)

    def stop_service(self) -> None:
        """End the service, if one runs."""
        if self.service is not None:
            self.service.stop()
            self.service = None

    def __enter__(self) -> "FaultRig":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_service()
        self.redis.stop()


def p99_ms(answers: Sequence[Answered]) -> float:
    """The 99th percentile of the latencies in milliseconds, infinite for none."""
    return float(np.quantile([answer.latency for answer in answers], 0.99)) * 1000 if answers else float("inf")


def shares(answers: Sequence[Answered]) -> str:
    """How many answers of which kind, in words."""
    kinds = Counter(answer.profile or str(answer.status or "no answer") for answer in answers)
    return ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
