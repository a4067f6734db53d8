"""A lean load generator: `python -m userip.loadtests.traffic.generator` with a Plan as JSON on stdin.

It prints its figures as one line of JSON. One thread, plain sockets, requests written before: on one core it asks
for several times what a server on another core can answer.

closed loop  each connection sends its next request when it has its answer
open loop    requests are due at times drawn before (Poisson). Latency counts from the due time, so that a stall
             of the server is felt by all requests that fall into it (no coordinated omission). How late the generator
             itself was, with a connection free, is measured apart.
"""

import dataclasses
import gc
import json
import os
import select
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from userip.loadtests.errors import BenchInputError
from userip.loadtests.servers.cores import cpu_seconds, fine_timers
from userip.loadtests.traffic.answers import Verifier, read_expected
from userip.loadtests.traffic.figures import Figures, figures
from userip.loadtests.traffic.wire import Connection
from userip.loadtests.traffic.workload import read_workload

_SPIN: Final = 60e-6  # seconds before a due time that are spent polling: a sleep may end that much too late
_TICK: Final = 0.2  # seconds between looks at the clock while nothing comes


@dataclasses.dataclass(frozen=True)
class Plan:
    """One run. `rate` None is a closed loop. With `prefill` the whole pool is asked for once before.

    The last answers may take `grace` seconds. `server` is the process whose CPU time is taken.
    """

    port: int
    workload: str
    expected: str | None = None
    connections: int = 32
    seconds: float = 2.0
    warm_up: float = 0.3
    rate: float | None = None
    grace: float = 5.0
    prefill: bool = False
    seed: int = 0
    server: int | None = None
    host: str = "127.0.0.1"


class LoadGenerator:
    """Sends the messages of a pool over `connections` connections; forgets what came before `measure_from`."""

    def __init__(self, plan: Plan, messages: Sequence[bytes], verifier: Verifier | None = None) -> None:
        self._messages, self._verifier, self._grace = messages, verifier or Verifier({}), plan.grace
        self._connections = [Connection(plan.host, plan.port) for _ in range(plan.connections)]
        self._by_file: dict[int, Connection] = {}
        self._epoll = select.epoll()
        for connection in self._connections:
            self._watch(connection)
        self.latencies, self.lateness = array("d"), array("d")
        self.failures: Counter[str] = Counter()

    def run(
        self,
        order: Iterator[int],
        until: float,
        due: Iterator[float] | None,
        measure_from: float,
        *,
        patient: bool = True,
    ) -> None:
        """Send requests in `order` until `until`, or until `order` ends; with `due`, each at its time, or later
        where no connection is free; unless `patient`, those that found none by `until` are left out.

        Then wait for what is under way. A request that stays without an answer, or unsent, has failed.
        """
        self.latencies, self.lateness, self.failures = array("d"), array("d"), Counter()
        idle = deque(self._connections)
        clock = time.perf_counter
        following = next(due, None) if due else 0.0
        end = until + self._grace
        stop = end if due and patient else until
        while True:
            now = clock()
            while idle and following is not None and following <= now < stop:
                index = next(order, None)
                if index is None:
                    following = None
                    break
                connection = idle.popleft()
                connection.busy, connection.index, connection.due, connection.sent = True, index, following or now, now
                if due and following >= measure_from:
                    self.lateness.append(now - max(following, connection.free))
                try:
                    connection.send(self._messages[index])
                except OSError as error:
                    self._fail(connection, measure_from, error)
                    idle.append(connection)
                if due:
                    following = next(due, None)
                now = clock()
            over = following is None or now >= stop
            if now >= end or (over and len(idle) == len(self._connections)):
                break
            for connection in self._ready(following if due and idle and not over else None):
                try:
                    answer = connection.receive()
                except OSError as error:
                    self._fail(connection, measure_from, error)
                    idle.append(connection)
                    continue
                if answer is not None:
                    self._take(connection, answer, measure_from)
                    connection.busy = False
                    idle.append(connection)
        for connection in {*self._connections} - {*idle}:
            self._fail(connection, measure_from, "no answer")
        if due and patient and following is not None:  # the server was so slow that these were never sent
            self.failures["not sent"] += sum(late >= measure_from for late in (following, *due))

    def close(self) -> None:
        """Close all connections."""
        self._epoll.close()
        for connection in self._connections:
            connection.close()

    def _take(self, connection: Connection, answer: tuple[int, bytes], measure_from: float) -> None:
        now = connection.free = time.perf_counter()
        status, body = answer
        if connection.due < measure_from:
            return
        if status != 200:
            self.failures[f"status {status}"] += 1
            return
        self.latencies.append(now - connection.due)
        self._verifier.note(connection.index, body)

    def _fail(self, connection: Connection, measure_from: float, why: object) -> None:
        """Count, and connect again. Raises OSError when the server is gone."""
        self.failures[str(why)] += connection.due >= measure_from
        connection.busy = False
        self._reopen(connection)

    def _reopen(self, connection: Connection) -> None:
        self._by_file.pop(connection.fileno(), None)
        connection.close()
        connection.open()
        connection.free = time.perf_counter()
        self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        self._by_file[connection.fileno()] = connection
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _ready(self, due: float | None) -> list[Connection]:
        """Connections with something of an answer to read; back in time for `due`."""
        if due is None:
            events = self._epoll.poll(_TICK)
        else:
            events = self._epoll.poll(0)
            wait = due - time.perf_counter() - _SPIN
            if not events and wait > 0:
                # epoll's own timeout counts in milliseconds, that of select in microseconds.
                select.select((self._epoll,), (), (), min(wait, _TICK))
                events = self._epoll.poll(0)
        ready = []
        for connection in [self._by_file[file] for file, _ in events]:
            if connection.busy:
                ready.append(connection)
            else:  # closed by the server while nothing was under way: no request failed
                self._reopen(connection)
        return ready


def generate(plan: Plan) -> Figures:
    """Do what `plan` says. Raises OSError when the server is not there, BenchInputError for a missing file."""
    workload = read_workload(Path(plan.workload))
    verifier = Verifier(read_expected(Path(plan.expected) if plan.expected else None))
    generator = LoadGenerator(plan, workload.messages(f"{plan.host}:{plan.port}"), verifier)
    rng = np.random.default_rng(plan.seed)
    gc.disable()  # nothing here makes cycles, and a collection would look like a slow answer
    try:
        if plan.prefill:
            generator.run(iter(range(len(workload))), time.perf_counter() + 60, None, float("inf"))
        start = time.perf_counter()
        measure_from, until = start + plan.warm_up, start + plan.warm_up + plan.seconds
        due = None if plan.rate is None else arrivals(plan.rate, start, until, rng)
        cpu, server_cpu = time.process_time(), cpu_seconds(plan.server) if plan.server else 0.0
        generator.run(_order(len(workload), rng), until, due, measure_from)
        elapsed = time.perf_counter() - start
        cpu = (time.process_time() - cpu) / elapsed
        server_cpu = (cpu_seconds(plan.server) - server_cpu) / elapsed if plan.server else 0.0
    finally:
        gc.enable()
        generator.close()
    return figures(
        generator.latencies,
        plan.seconds,
        failures=generator.failures,
        counts=verifier.counts(),
        lateness=generator.lateness,
        cpu=cpu,
        server_cpu=server_cpu if plan.server else None,
    )


def arrivals(rate: float, start: float, until: float, rng: np.random.Generator) -> Iterator[float]:
    """Times of a Poisson process of `rate` a second from `start` to `until`."""
    seconds = until - start
    gaps = rng.exponential(1 / rate, size=int(rate * seconds + 10 * (rate * seconds) ** 0.5) + 10)
    times = start + gaps.cumsum()
    return iter(times[times < until].tolist())


def _order(size: int, rng: np.random.Generator) -> Iterator[int]:
    """The pool over and over, from a place of its own: it was drawn at random already."""
    index = int(rng.integers(size))
    while True:
        yield index
        index = (index + 1) % size


def main() -> None:
    """Read the plan from stdin, print the figures."""
    fine_timers()
    plan = Plan(**json.loads(sys.stdin.read()))
    try:
        json.dump(generate(plan).row(), sys.stdout)
    except (OSError, BenchInputError) as error:
        sys.exit(f"generator: http://{plan.host}:{plan.port}: {error}")
    sys.stdout.flush()
    os._exit(0)  # nothing is left to do; tearing the interpreter down would only make the bench longer


if __name__ == "__main__":
    main()
