"""Deadlines at the price of one timer for all: `asyncio.timeout` would cost each request and each bank read 4 us.

A pause of this process is nobody's fault. A process that could not run (another one had the core, or its quota was
spent) resumes with its deadlines past and the replies in its sockets, and an event loop looks at its timers first. So a
timer that fires late lets the loop poll the sockets once more before it ends anything.
"""

import asyncio
import math
import time
from types import TracebackType
from typing import Any, Final

_LATE_S: Final = 0.005  # a timer that is later than this was kept from running
_LOOK_S: Final = 0.002  # long enough to poll the sockets and to take what came
_EARLY_S: Final = 0.001  # what loops round the time of a timer by


class _Watch:
    """The body of one `with`."""

    __slots__ = ("_before", "_deadlines", "_task", "ends", "late", "spared")

    def __init__(self, deadlines: "Deadlines", ends: float) -> None:
        self._deadlines = deadlines
        self.ends = ends
        self.late = self.spared = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a deadline ends a task"
        self._task: asyncio.Task[Any] = task
        self._before = task.cancelling()
        self._deadlines.enter(self, task.get_loop())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.leave(self)
        if self.late and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """Time is up."""
        self.late = True
        self._task.cancel()


class Deadlines:
    """Ends what takes longer than `seconds`, with TimeoutError from inside. Belongs to one event loop at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at_work: set[_Watch] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = math.inf  # of the next look
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, began: float | None = None) -> _Watch:
        """`with deadlines.watch():`, or from when it `began`, as `time.perf_counter` tells it."""
        return _Watch(self, (time.perf_counter() if began is None else began) + self._seconds)

    def enter(self, watch: _Watch, loop: asyncio.AbstractEventLoop) -> None:
        """Watch from now on."""
        if loop is not self._loop:
            self._loop, self._due, self._timer = loop, math.inf, None
            self._at_work.clear()
        self._at_work.add(watch)
        if watch.ends < self._due:
            self._look_at(watch.ends)

    def leave(self, watch: _Watch) -> None:
        """Watch no more. The timer stays: the next one may need it."""
        self._at_work.discard(watch)

    def _look_at(self, due: float) -> None:
        assert self._loop is not None
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_later(max(0.0, due - time.perf_counter()), self._look)

    def _look(self) -> None:
        """End what is late, or let the sockets be looked at once before, and look again when the next one is due."""
        now = time.perf_counter()
        slept, next_due = now - self._due > _LATE_S, math.inf
        for watch in self._at_work:
            if watch.late:
                continue
            if watch.ends > now + _EARLY_S:
                next_due = min(next_due, watch.ends)
            elif slept and not watch.spared:
                watch.spared, next_due = True, now + _LOOK_S
            else:
                watch.end()
        self._due, self._timer = math.inf, None
        if next_due < math.inf:
            self._look_at(next_due)
