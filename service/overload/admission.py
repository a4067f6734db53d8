"""Admission (load shedding): a request waits for its turn; whoever has waited for longer than the target is refused.

Requests are read as they come and queue up, first in, first out. Only a few are handed to the event loop at a time, so
that it looks at its sockets again within a millisecond or so, and what comes is seen and its waiting timed. When its
turn comes, a request that has waited for longer than `delay_s` is refused instead: no work was done for it, and whoever
is answered has waited for less. A load that can be borne, or a stall shorter than the target, refuses nobody.

To refuse costs time too, and refused clients come back at once. So refusals are sent at a limited rate, and the answers
go on however much is asked (a late refusal keeps an eager client waiting; Maurer, "Fail at Scale", 2015, on the queue).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

_AHEAD: Final = 4  # requests handed to the event loop and not begun: what it works off before it looks again
_AT_WORK_S: Final = (
    0.005  # of work begun, but waiting for the bank: enough to be busy meanwhile, too little to queue anew
)
_MOST_WAITING: Final = 2048  # behind which requests are refused while they are parsed
_REFUSE_EVERY_S: Final = 0.001  # one refusal: at 50 us each, a twentieth of the time
_AT_ONCE: Final = 32  # refusals while nothing else is to be done
_COST_S: Final = 200e-6  # of a request, until it is measured
_ANSWERS: Final = 64  # after which it is: this thread's processor time, shared out
_BUSY_S: Final = 0.5  # they come within it, or what else the worker does would count

Later = Callable[[float, Callable[[], None]], object]  # as `loop.call_later`


class Waiting(Protocol):
    """A request that waits for its turn: exactly one of its methods is called."""

    read_at: float  # time.perf_counter

    def start(self) -> None:
        """Hand it to the event loop; when it begins it tells `Admission.entered`."""

    def refuse(self) -> None:
        """Answer that it cannot be taken on."""


class Admission:
    """The queue of one event loop: at most `at_work` requests at work, none that waited for longer than `delay_s`.

    Fewer are at work where they would be waiting for each other rather than for the bank.
    """

    def __init__(
        self,
        at_work: int,
        delay_s: float,
        clock: Callable[[], float] = time.perf_counter,
        used: Callable[[], float] = time.thread_time,
        later: Later | None = None,
    ) -> None:
        """`later` calls back after some seconds: by default the running loop's `call_later`."""
        self._most, self._delay_s = at_work, delay_s
        self._clock, self._used, self._later = clock, used, later
        self._queue: deque[Waiting] = deque()
        self._late: deque[Waiting] = deque()  # to be refused
        self._timed = False  # a call is due
        self._ahead = self._at_once = 0
        self._at_work = 0
        self._answered = 0
        self._since = (clock(), used())
        self.cost_s = _COST_S  # what a request takes of this worker's time

    @property
    def is_full(self) -> bool:
        """Whether so many wait that there is no room for another one."""
        return len(self._queue) + len(self._late) >= _MOST_WAITING

    def passes(self) -> bool:
        """Whether a request that was just read need not wait: it is counted as handed over, and must begin."""
        if self._queue or self._ahead >= _AHEAD or not self._has_place():
            return False
        self._ahead += 1
        return True

    def wait(self, request: Waiting) -> None:
        """Queue up one that does not pass."""
        self._queue.append(request)
        if not self._timed:
            self._call(self._delay_s)

    def entered(self) -> None:
        """One that was handed over begins: the next one's turn, for which this one's place is not free."""
        self._ahead -= 1
        if self._queue:
            self._at_work += 1
            self._hand_over()
            self._at_work -= 1

    def worked(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """One that passed was worked on when it was read: it counts as handed over until the event loop comes round."""
        self._ahead += 1
        self._at_once += 1
        if self._at_once == 1:
            soon(self._come_round)

    def _come_round(self) -> None:
        self._ahead -= self._at_once
        self._at_once = 0
        if self._queue:
            self._hand_over()

    def begin(self) -> bool:
        """Work on a request begins: it has been read, body and all. False where all places are taken."""
        if self._at_work >= self._most:
            return False
        self._at_work += 1
        return True

    def end(self) -> None:
        """It is answered, or given up."""
        self._at_work -= 1
        if self._queue:
            self._hand_over()

    def answered(self) -> None:
        """Learn from time to time what an answer costs."""
        self._answered += 1
        if self._answered == _ANSWERS:
            (since, used), self._since = self._since, (self._clock(), self._used())
            if self._since[0] - since < _BUSY_S:
                self.cost_s += ((self._since[1] - used) / _ANSWERS - self.cost_s) / 2
            self._answered = 0

    def _has_place(self) -> bool:
        return self._at_work + self._ahead < min(self._most, max(_AHEAD, _AT_WORK_S / self.cost_s))

    def _hand_over(self) -> None:
        queue = self._queue
        oldest = self._clock() + self._ahead * self.cost_s - self._delay_s
        while queue and queue[0].read_at < oldest:
            self._late.append(queue.popleft())
        while queue and self._ahead < _AHEAD and self._has_place():
            self._ahead += 1
            queue.popleft().start()

    def _call(self, seconds: float) -> None:
        self._timed = True
        (self._later or asyncio.get_running_loop().call_later)(max(seconds, _REFUSE_EVERY_S), self._refuse)

    def _refuse(self) -> None:
        """Refuse some of the late; called soon while there are any, else when the next one might be."""
        self._timed = False
        self._hand_over()  # where nothing ends or begins, as behind a bank that hangs, nobody else looks
        for _ in range(min(len(self._late), 1 if self._queue or self._ahead or self._at_work else _AT_ONCE)):
            self._late.popleft().refuse()
        if self._timed:  # by a request that came behind a refused one
            return
        if self._late:
            self._call(_REFUSE_EVERY_S)
        elif self._queue:
            self._call(self._queue[0].read_at + self._delay_s - self._clock())
