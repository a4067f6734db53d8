"""Whom a worker takes on, on a simulated event loop: time is computed, so the figures are the same on every machine."""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from heapq import heappop, heappush
from itertools import count

import numpy as np
import pytest

from userip.service.overload.admission import Admission

DELAY_S = 0.025
READ_S, REFUSE_S = 20e-6, 30e-6


class Request:
    """One that waits; `loop` is told what becomes of it."""

    def __init__(self, loop: "Loop", due: float, read_at: float) -> None:
        self.due, self.read_at = due, read_at
        self._loop = loop

    def start(self) -> None:
        self._loop.ready.append(partial(self._loop.work, self))

    def refuse(self) -> None:
        self._loop.refused.append(self._loop.now - self.read_at)
        self._loop.now += REFUSE_S


class Loop:
    """An event loop and a worker that needs `cost_s` a request: it reads what has come and works on what passes, works
    off what was handed over before, and reads again."""

    def __init__(self, cost_s: float, most: int = 256) -> None:
        self.now = 0.0
        self.ready: deque[Callable[[], None]] = deque()
        self.refused: list[float] = []  # how long each had waited
        self.waits: list[float] = []  # of those who were answered, since they were read
        self.latencies: list[float] = []  # and since they came
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._cost_s = cost_s
        self._rng = np.random.default_rng(0)
        self.admission = Admission(most, DELAY_S, lambda: self.now, lambda: self.now, self._later)

    def run(self, load: float, seconds: float, stalls: Iterable[float] = (), stall_s: float = 0.02) -> None:
        """Poisson arrivals at `load` times the capacity; at each of `stalls` (seconds) it stands still for a while."""
        self.refused, self.waits, self.latencies = [], [], []
        start = self.now
        rate = load / self._cost_s
        gaps = self._rng.exponential(1 / rate, int(rate * seconds))
        due = deque((start + gaps.cumsum()).tolist())
        ahead = deque(start + stall for stall in stalls)
        while due or self.ready or self._timers:
            if not self.ready:
                self.now = max(self.now, min([*([due[0]] if due else []), *(timer[0] for timer in self._timers[:1])]))
            while self._timers and self._timers[0][0] <= self.now:
                heappop(self._timers)[2]()
            polled = self.now
            while due and due[0] <= polled:
                self._read(due.popleft())
            for _ in range(len(self.ready)):
                self.ready.popleft()()
                if ahead and self.now > ahead[0]:
                    ahead.popleft()
                    self.now += stall_s

    def _read(self, due: float) -> None:
        self.now += READ_S
        request = Request(self, due, self.now)
        if self.admission.is_full:
            request.refuse()
        elif self.admission.passes():
            self.work(request)
            self.admission.worked(self.ready.append)
        else:
            self.admission.wait(request)

    def work(self, request: Request) -> None:
        self.waits.append(self.now - request.read_at)
        self.admission.entered()
        assert self.admission.begin()
        took = self._cost_s * self._rng.lognormal(0, 0.15)
        self.now += took
        self.admission.answered()
        self.admission.end()
        self.latencies.append(self.now - request.due)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        heappush(self._timers, (self.now + seconds, next(self._number), call))


@pytest.mark.parametrize("cost_s", [0.0001, 0.0005])
@pytest.mark.parametrize("load", [0.1, 0.4, 0.8])
def test_nobody_is_refused_below_the_capacity(cost_s: float, load: float) -> None:
    """Neither by chance, nor when the machine stands still for 20 ms every second."""
    loop = Loop(cost_s)
    loop.run(load, 5)
    assert (loop.refused, len(loop.latencies)) == ([], int(load / cost_s * 5))
    loop.run(load * 0.9, 5, range(1, 5), stall_s=0.015)
    assert not loop.refused


@pytest.mark.parametrize("load", [2, 3])  # ten times as much would take all the time to read and refuse
def test_whoever_is_answered_has_waited_for_less_than_the_target(load: float) -> None:
    """However much is asked, most of the time goes into answers; afterwards nobody is refused any more."""
    loop = Loop(0.0005)
    loop.run(load, 5)
    # Handed over within the target, and then behind three others at most.
    assert max(loop.waits) <= DELAY_S + 4 * 0.0005 * 2
    assert loop.refused
    assert min(loop.refused) >= 0
    offered = load / 0.0005
    reading, refusing = offered * READ_S, (offered - 2000) * REFUSE_S  # the most that either takes, a second
    left = max(1 - reading - refusing, 0)
    assert len(loop.latencies) / loop.now * 0.0005 >= 0.9 * left
    loop.run(0.1, 0.5)
    assert not loop.refused


def test_eager_clients_do_not_turn_refusing_into_the_main_work() -> None:
    """Where refused clients come back at once, refusals are sent at a limited rate, so that answers go on."""
    loop = Loop(0.0005)
    clients, answered = 400, 0
    waiting = deque([0.0] * clients)
    while loop.now < 3:
        while loop._timers and loop._timers[0][0] <= loop.now:
            heappop(loop._timers)[2]()
        done = len(loop.latencies) + len(loop.refused)
        while waiting:
            loop._read(waiting.popleft())
        for _ in range(len(loop.ready)):
            loop.ready.popleft()()
        waiting.extend([loop.now] * (len(loop.latencies) + len(loop.refused) - done))
        if not loop.ready and loop._timers:
            loop.now = max(loop.now, loop._timers[0][0])
        answered = len(loop.latencies)
    assert answered / 3 >= 0.88 / 0.0005  # reading takes 4 %, refusing 3 to 5 %
    assert len(loop.refused) / 3 <= 1100


def test_a_stall_as_long_as_the_target_refuses_nobody() -> None:
    """What comes while the loop stands still is read after it, and waits from then on."""
    loop = Loop(0.0005)
    loop.run(0.5, 4, [1, 2, 3], stall_s=DELAY_S)
    assert not loop.refused
    assert max(loop.latencies) <= 2 * DELAY_S


def test_places_bound_what_is_at_work() -> None:
    """With every place taken requests wait; a place that becomes free is the next one's."""
    loop = Loop(0.0005, most=2)
    admission = loop.admission
    assert [admission.passes() for _ in range(3)] == [True, True, False]
    first, second = Request(loop, 0, 0), Request(loop, 0, 0)
    admission.wait(first)
    admission.wait(second)
    for _ in range(2):
        admission.entered()
        assert admission.begin()
    assert not loop.ready
    admission.end()
    assert [task.args for task in loop.ready if isinstance(task, partial)] == [(first,)]
    admission.entered()
    assert admission.begin()
    loop.now = 0.03
    admission.end()
    assert not admission.passes() or loop.ready  # nobody overtakes
    loop._timers[0][2]()
    assert loop.refused == [0.03]


def test_so_many_wait_and_no_more() -> None:
    """Behind them requests are refused as they are read."""
    loop = Loop(0.0005)
    for _ in range(4):
        assert loop.admission.passes()
    waited = 0
    while not loop.admission.is_full:
        loop.admission.wait(Request(loop, 0, 0))
        waited += 1
    assert waited == 2048


def test_few_are_worked_on_before_the_sockets_are_looked_at_again() -> None:
    """Of many that are read in one turn of the event loop, the first four pass; the others queue up for the next
    turn."""
    loop = Loop(0.0001)
    for _ in range(10):
        loop._read(loop.now)
    assert len(loop.latencies) == 4
    assert not loop.admission.passes()
    loop.ready.popleft()()
    assert (len(loop.latencies), len(loop.ready)) == (4, 4)
    while loop.ready:
        loop.ready.popleft()()
    assert len(loop.latencies) == 10
