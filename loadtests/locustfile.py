"""Locust against any deployment, with the bench's requests.

    locust -f loadtests/locustfile.py --host http://host:8000 --release RUN/release --candidates 100 --users 32
    locust -f loadtests/locustfile.py --host http://host:8000 --release RUN/release --rate 200 --users 1

Without --rate each user sends their next request when they have the answer (closed loop). With it, requests are due at
times drawn before (Poisson, --rate a second over all users), each is sent by a greenlet of its own, and latency counts
from the due time: a stall is felt by all requests that fall into it.
"""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, ClassVar

import gevent
import numpy as np
from gevent.pool import Group
from locust import FastHttpUser, events, task
from locust.env import Environment

from userip.files import write_text
from userip.loadtests.errors import LoadTestError
from userip.loadtests.servers.cores import cpu_seconds
from userip.loadtests.traffic.answers import Verifier, read_expected
from userip.loadtests.traffic.figures import figures
from userip.loadtests.traffic.workload import Workload, make_workload, population_of_release, read_workload


class Run:
    """The requests of this run and what became of them; warm-up is left out."""

    def __init__(self, options: Namespace) -> None:
        self.options = options
        self.workload = _workload(options)
        self.bodies = [self.workload.body(i).decode() for i in range(len(self.workload))]
        self._rng = np.random.default_rng(options.seed)
        start = int(self._rng.integers(len(self.bodies)))
        self.order = islice(cycle(range(len(self.bodies))), start, None)
        self._verifier = Verifier(read_expected(Path(options.expected) if options.expected else None))
        self._latencies, self._lateness = array("d"), array("d")
        self._failures: Counter[str] = Counter()
        self.start()

    def start(self) -> None:
        """The load begins now."""
        self._begin, self._end = time.perf_counter(), float("inf")
        self._cpu, self._server_cpu = time.process_time(), self._server_seconds()

    def stop(self) -> None:
        """The load ends now: what was due later does not count."""
        self._end = time.perf_counter()
        self._cpu, self._server_cpu = time.process_time() - self._cpu, self._server_seconds() - self._server_cpu

    def arrivals(self, users: int) -> Iterator[float]:
        """Due times of one user until the end: Poisson processes of `users` users add up to one of the whole rate."""
        due = time.perf_counter()
        while due < self._end:
            due += float(self._rng.exponential(users / self.options.rate))
            yield due

    def note(self, index: int, due: float, sent: float, status: int, body: bytes) -> None:
        """One answer, `sent` when it was."""
        if not self._begin + self.options.warm_up <= due < self._end:
            return
        self._lateness.append(sent - due)
        if status != 200:
            self._failures[f"status {status}"] += 1
            return
        self._latencies.append(time.perf_counter() - due)
        self._verifier.note(index, body)

    def write(self, file: Path) -> None:
        """Write the figures as JSON."""
        elapsed = self._end - self._begin
        seen = figures(
            self._latencies,
            max(elapsed - self.options.warm_up, 1e-3),
            failures=self._failures,
            counts=self._verifier.counts(),
            lateness=self._lateness if self.options.rate else (),
            cpu=self._cpu / elapsed,
            server_cpu=self._server_cpu / elapsed if self.options.server_pid else None,
        )
        write_text(file, json.dumps(seen.row()))

    def _server_seconds(self) -> float:
        return cpu_seconds(self.options.server_pid) if self.options.server_pid else 0.0


def _workload(options: Namespace) -> Workload:
    if options.workload:
        return read_workload(Path(options.workload))
    if not options.release:
        raise LoadTestError("give --release RUN/release to take users and items from, or --workload FILE")
    population = population_of_release(Path(options.release), options.seed)
    return make_workload(
        population, options.route, options.candidates, options.batch, exponent=options.exponent, seed=options.seed
    )


class Scorer(FastHttpUser):
    """One user of Locust: a connection in the closed loop, a stream of arrivals in the open one."""

    concurrency = 64
    network_timeout = 10.0
    run_: ClassVar[Run]

    @task
    def ask(self) -> None:
        """Send the next request; in an open loop, keep sending until Locust stops this user."""
        run = self.run_
        if not run.options.rate:
            self._send(next(run.order), time.perf_counter())
            return
        under_way = Group()
        for due in run.arrivals(max(self.environment.runner.target_user_count, 1)):
            gevent.sleep(max(due - time.perf_counter(), 0))
            under_way.spawn(self._send, next(run.order), due)
        under_way.join(self.network_timeout)

    def _send(self, index: int, due: float) -> None:
        run = self.run_
        workload = run.workload
        sent = time.perf_counter()
        with self.client.request(
            workload.method,
            workload.path(index),
            name=workload.route,
            data=run.bodies[index] or None,
            headers={"Content-Type": "application/json"},
            catch_response=True,
        ) as response:
            run.note(index, due, sent, response.status_code, response.content or b"")
            response.request_meta["response_time"] = (time.perf_counter() - due) * 1000  # also on Locust's page


def add_options(parser: ArgumentParser) -> None:
    """What the bench's requests are made of, beside Locust's own options."""
    group = parser.add_argument_group("UserIP")
    group.add_argument("--release", default="", help="Release directory to take user and item ids from")
    group.add_argument("--route", default="/score", choices=["/score", "/score/batch", "/profile"])
    group.add_argument("--candidates", type=int, default=100, help="Items of one request")
    group.add_argument("--batch", type=int, default=1, help="Requests in one body of /score/batch")
    group.add_argument("--rate", type=float, default=0.0, help="Requests per second, open loop; 0: closed loop")
    group.add_argument("--exponent", type=float, default=1.0, help="Of Zipf's law for users and items")
    group.add_argument("--seed", type=int, default=0)
    group.add_argument("--seconds", type=float, default=0.0, help="End by itself, so long after the warm-up")
    group.add_argument("--warm-up", type=float, default=0.0, help="Seconds that are not counted in --summary")
    group.add_argument("--summary", default="", help="File to write exact figures to, as JSON")
    group.add_argument("--workload", default="", help="Requests that were written before, in place of --release")
    group.add_argument("--expected", default="", help="Right answers to verify, as the bench writes them")
    group.add_argument("--server-pid", type=int, default=0, help="Service on this machine whose CPU time is taken")


def prepare(environment: Environment, **_: Any) -> None:  # noqa: ANN401  # what Locust passes
    """Make the requests before the load starts."""
    if environment.parsed_options is None:
        return
    try:
        Scorer.run_ = Run(environment.parsed_options)
    except LoadTestError as error:
        sys.exit(f"locustfile: {error}")


def begin(environment: Environment, **_: Any) -> None:  # noqa: ANN401
    """Count from here; with --seconds, also end by ourselves."""
    run = Scorer.run_
    run.start()
    if run.options.seconds:
        gevent.spawn(_quit_after, environment, time.perf_counter() + run.options.warm_up + run.options.seconds)


def _quit_after(environment: Environment, end: float) -> None:
    # Timers count from the loop's own clock, which stood still while the requests were written: --run-time is cut
    # short by that, and so may be one sleep.
    while (left := end - time.perf_counter()) > 0:
        gevent.sleep(left)
    if environment.runner is not None:
        environment.runner.quit()


def end(**_: Any) -> None:  # noqa: ANN401
    """Count until here."""
    Scorer.run_.stop()


def finish(**_: Any) -> None:  # noqa: ANN401
    """Write the figures, if they are wanted."""
    if Scorer.run_.options.summary:
        Scorer.run_.write(Path(Scorer.run_.options.summary))


for _hook, _listener in (
    (events.init_command_line_parser, add_options),
    (events.init, prepare),
    (events.test_start, begin),
    (events.test_stopping, end),
    (events.test_stop, finish),
):
    _hook.add_listener(_listener)  # type: ignore[no-untyped-call]  # Locust leaves it untyped
