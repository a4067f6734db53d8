"""Admission under overload (load shedding): accept what can be answered soon, refuse the rest at once.

An event loop alternates: it reads whatever has arrived (a look), then works it all off, then looks again. So how long
one request will wait is known when it is read: the work that was read before it. After a stall of the machine, or when
many come at once, that may be much for a moment; a queue that does not go away is kept short (CoDel; Maurer, "Fail at
Scale", 2015), and the rest is refused before any work is done for it.

What tells the two apart is a bucket into which the work that is asked for flows, refused or not, and out of which runs
one second a second: its level is the queue of a worker that never stalls and never refuses. It stays low through
every stall, and rises when the offered load is over what can be done. A second one, that runs out faster and holds
less, sees at once when it is far more.
"""

import asyncio
from collections.abc import Callable
from typing import Final

Soon = Callable[..., object]  # as `loop.call_soon`: a function and its arguments

_BURST_S: Final = 0.05  # of work may wait while no queue lasts
_READ_S: Final = 50e-6  # what reading and parsing a request costs (measured); the rest is learned
_LOOKUP_S: Final = 0.002  # for which a place may be held while the bank answers: others are at work meanwhile
_WEIGHT: Final = 1 / 16  # of a new measurement
_ODD: Final = 4.0  # a measurement over so many times the cost before is a stall, and counts as so many


class _Bucket:
    """Seconds of work that were asked for, less those that ran out; full at so many requests, and no fewer seconds."""

    def __init__(self, runs_out: float, requests: int, seconds: float) -> None:
        """`runs_out` seconds in a second."""
        self.level_s = 0.0
        self.full_s = seconds
        self._runs_out = runs_out
        self._requests = requests
        self._seconds = seconds

    def run_out(self, since_s: float, cost_s: float) -> None:
        """Begin a look: what is read in it came since the last one, so much has run out by the time it flows in."""
        self.full_s = min(_BURST_S, max(self._seconds, self._requests * cost_s))
        self.level_s = min(max(0.0, self.level_s), 2 * self.full_s) - self._runs_out * since_s


class Admission:
    """Counts who is at work, knows what one request costs, and refuses. Belongs to one event loop.

    `most` requests at work at once; behind a lasting queue, those that would wait for more than `queue_s` are refused.
    `cost_s` is what a request takes of this worker's time.
    """

    def __init__(self, most: int, queue_s: float, soon: Soon | None = None) -> None:
        """`soon` calls back when everything that has arrived is read; by default the running loop's `call_soon`."""
        self._most = most
        self._queue_s = queue_s
        self._soon = soon
        self._at_work = 0
        self.cost_s = 2 * _READ_S
        self._other_s = _READ_S  # of it what no stage measures
        self._lookup_s = 0.0
        self._looking = False
        self._looked_at = 0.0
        self._read = 0  # in this look, and taken on
        self._refused = 0  # in this look
        self._places = 0.0  # how many may be at work at its end
        # For arrivals by chance (Poisson) at nine tenths of what can be borne, either is full for less than
        # 4 thousandths of the time; at eight tenths never.
        self._queue = _Bucket(1.0, 25, 0.01)
        self._rush = _Bucket(1.5, 8, 0.005)
        self._lasts = False

    def refuses(self, now: float) -> str | None:
        """Why a request that was read at `now` (`time.perf_counter`) cannot be taken on; None takes it on."""
        if not self._looking:
            self._begin_look(now)
        queue, rush = self._queue, self._rush
        queue.level_s += self.cost_s
        rush.level_s += self.cost_s
        if not self._lasts and (queue.level_s > queue.full_s or rush.level_s > rush.full_s):
            self._lasts, self._places = True, self._room_for(self._queue_s)
        ahead = self._at_work + self._read
        if self._at_work >= self._most:
            return "in_flight"
        if ahead and ahead >= self._places:
            self._refused += 1
            return "queue"
        self._read += 1
        return None

    def begin(self) -> bool:
        """Work on a request begins: it has been read, body and all. False if those who were read at the same time
        have taken the last places."""
        if self._at_work >= self._most:
            return False
        self._at_work += 1
        self._read = max(0, self._read - 1)  # of this look, where reading and work are one
        return True

    def end(self) -> None:
        """It is answered, or given up."""
        self._at_work -= 1

    def learn(self, seconds: float, stages_s: float, lookup_s: float) -> None:
        """What an answered request took: in all, in the stages of its work, and of these in the bank."""
        if not lookup_s:  # nobody else was at work in between
            other = min(seconds - stages_s, _ODD * self._other_s)
            self._other_s += _WEIGHT * (other - self._other_s)
        cost = min(stages_s - lookup_s + self._other_s + _READ_S, _ODD * self.cost_s)
        self.cost_s += _WEIGHT * (cost - self.cost_s)
        self._lookup_s += _WEIGHT * (min(lookup_s, _LOOKUP_S) - self._lookup_s)

    def _begin_look(self, now: float) -> None:
        since, self._looked_at = now - self._looked_at, now
        self._lasts = self._lasts and self._queue.level_s > 0
        self._queue.run_out(since, self.cost_s)
        self._rush.run_out(since, self.cost_s)
        # Where refusing takes nearly all of the time, a fifth of it is kept for answers.
        wait_s = max(self._queue_s, self._refused * _READ_S / 4) if self._lasts else max(self._queue_s, _BURST_S)
        self._places, self._refused = self._room_for(wait_s), 0
        self._looking = True
        (self._soon or asyncio.get_running_loop().call_soon)(self._end_look)

    def _end_look(self) -> None:
        """Everything has been read; now it is worked on, and counts as such."""
        self._looking, self._read = False, 0

    def _room_for(self, wait_s: float) -> float:
        return (wait_s + self._lookup_s) / self.cost_s
