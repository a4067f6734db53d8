"""Whom a worker takes on, on a simulated event loop: time is computed, so the figures are the same on every machine."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pytest

from userip.service.overload.admission import Admission

QUEUE_S = 0.001
READ_S, REFUSE_S = 50e-6, 30e-6


class Seen(NamedTuple):
    """What became of the requests of one run; latencies in seconds, of those who were answered."""

    latencies: list[float]
    refused: int

    @property
    def p99(self) -> float:
        return float(np.quantile(self.latencies, 0.99))


class Loop:
    """An event loop and a worker that needs `cost_s` a request: it reads all that has come, works it off, and again."""

    def __init__(self, cost_s: float, most: int = 256) -> None:
        self._soon: list[Callable[[], None]] = []
        self.admission = Admission(most, QUEUE_S, self._soon.append)
        self._cost_s = cost_s
        self._rng = np.random.default_rng(0)
        self._now = 0.0

    @property
    def capacity(self) -> float:
        """Requests a second."""
        return 1 / (self._cost_s + READ_S)

    def run(self, load: float, seconds: float, stalls: Iterable[float] = (), stall_s: float = 0.02) -> Seen:
        """Poisson arrivals at `load` times the capacity; at each of `stalls` (seconds) it stands still for a while."""
        start = self._now
        gaps = self._rng.exponential(1 / (load * self.capacity), int(1.2 * load * self.capacity * seconds) + 50)
        due = start + gaps.cumsum()
        due = due[due < start + seconds]
        ahead = [start + stall for stall in stalls]
        latencies: list[float] = []
        first = 0
        while first < len(due):
            self._now = max(self._now, float(due[first]))
            come = int(np.searchsorted(due, self._now, "right"))
            taken = [float(at) for at in due[first:come] if self._is_taken()]
            first = come
            while self._soon:
                self._soon.pop()()
            for at in taken:
                self.admission.begin()
                took = self._cost_s * self._rng.lognormal(0, 0.15)
                if ahead and self._now > ahead[0]:
                    took += stall_s
                    ahead.pop(0)
                self._now += took
                self.admission.learn(took, took - 20e-6, 0.0)
                self.admission.end()
                latencies.append(self._now - at)
        return Seen(latencies, len(due) - len(latencies))

    def _is_taken(self) -> bool:
        refused = self.admission.refuses(self._now) is not None
        self._now += REFUSE_S if refused else READ_S
        return not refused


@pytest.mark.parametrize("cost_s", [0.0001, 0.0005])
@pytest.mark.parametrize("load", [0.1, 0.4, 0.8])
def test_nobody_is_refused_below_the_capacity(cost_s: float, load: float) -> None:
    """Neither by chance, nor when the machine stands still for 20 ms every second."""
    loop = Loop(cost_s)
    assert loop.run(load, 10).refused == 0
    assert loop.run(load, 10, range(1, 10)).refused == 0


def test_burst_after_a_pause_is_borne() -> None:
    """Many at once, after nothing for a while, are all taken on, if none waits for over a twentieth of a second."""
    loop = Loop(0.0005)
    loop.run(0.1, 2)
    loop._now += 1
    assert [loop.admission.refuses(loop._now) for _ in range(60)] == [None] * 60


@pytest.mark.parametrize("load", [2, 3, 5])
def test_who_is_answered_under_overload_is_answered_soon(load: float) -> None:
    """The 99th percentile stays within five times that of a tenth of the load, and most of the time goes into answers;
    afterwards nobody is refused any more."""
    loop = Loop(0.0005)
    unloaded = loop.run(0.1, 5)
    over = loop.run(load, 8)
    assert over.p99 <= 5 * unloaded.p99
    assert over.refused > 0
    spent_on_refusals = over.refused * REFUSE_S / 8
    assert len(over.latencies) / 8 >= 0.9 * loop.capacity * (1 - spent_on_refusals)
    loop.run(0.1, 0.2)
    assert loop.run(0.1, 2).refused == 0


def test_stalls_under_overload_cost_only_those_they_hit() -> None:
    """Twice a second 20 ms of nothing, under three times the load: the queue of a stall is not taken on."""
    loop = Loop(0.0005)
    unloaded = loop.run(0.1, 5)
    stalled = loop.run(3, 8, [at / 2 for at in range(1, 16)])
    assert stalled.p99 <= 10 * unloaded.p99
    assert sum(latency > 0.018 for latency in stalled.latencies) <= 0.01 * len(stalled.latencies)


def test_answers_go_on_where_refusing_takes_all_the_time() -> None:
    """At so many requests that to refuse them fills every second, some are still answered."""
    loop = Loop(0.0001)
    over = loop.run(6, 2)
    assert len(over.latencies) >= 0.1 * loop.capacity * 2


def test_no_more_are_at_work_than_may_be() -> None:
    """Who comes beyond the places gets `in_flight`, and the next one is taken on as soon as one place is free."""
    admission = Admission(2, QUEUE_S, lambda _: None)
    for _ in range(2):
        assert admission.refuses(0.0) is None
        assert admission.begin()
    assert not admission.begin()
    assert admission.refuses(0.0) == "in_flight"
    admission.end()
    assert admission.refuses(0.0) is None


def test_places_are_kept_for_those_who_wait_for_the_bank() -> None:
    """Behind a lasting queue more may be at work when lookups take time: the worker is not idle meanwhile."""

    def taken(lookup_s: float) -> int:
        """How many of 80 at once are taken on in the third of three such looks, a millisecond apart."""
        ends: list[Callable[[], None]] = []
        admission = Admission(1000, QUEUE_S, ends.append)
        for _ in range(200):
            admission.learn(0.0002 + lookup_s, 0.00015 + lookup_s, lookup_s)
        count = 0
        for look in (1.0, 1.001, 1.002):  # in the first much may wait, by the second the queue lasts
            count = sum(admission.refuses(look) is None for _ in range(80))
            ends.pop()()
        return count

    assert taken(0.0) < 10
    assert taken(0.001) == pytest.approx(2 * taken(0.0), abs=2)
    assert taken(1.0) < 20  # a bank that is nearly away holds no places
