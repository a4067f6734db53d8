"""A deadline that does not blame the bank for what this process slept through.

A process that is kept from running (another one took the core, or its quota was spent) wakes up with its deadlines
past and the replies in its sockets, and an event loop looks at its timers first. So a timer that fires late gives the
loop one more look at the sockets before it ends anything.
"""

import asyncio
from types import TracebackType
from typing import Any, Final

_LATE_S: Final = 0.005  # a timer that is later than this was kept from running
_LOOK_S: Final = 0.002  # long enough to poll the sockets and to take what came


class Deadline:
    """`with Deadline(0.05):` raises TimeoutError from inside when time is up. Half the price of `asyncio.timeout`."""

    __slots__ = ("_before", "_handle", "_late", "_looked", "_loop", "_seconds", "_task", "_when")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._late = self._looked = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a deadline ends a task"
        self._task: asyncio.Task[Any] = task
        self._before = task.cancelling()
        self._loop = task.get_loop()
        self._set(self._seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.cancel()
        if self._late and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _set(self, seconds: float) -> None:
        self._when = self._loop.time() + seconds
        self._handle = self._loop.call_at(self._when, self._ring)

    def _ring(self) -> None:
        if not self._looked and self._loop.time() - self._when > _LATE_S:
            self._looked = True
            self._set(_LOOK_S)
            return
        self._late = True
        self._task.cancel()
