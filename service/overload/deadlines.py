"""A deadline for every request at the price of one timer for all: `asyncio.timeout` would cost each 4 us (measured).

Tasks at work are kept in the order in which they began, so a look at the first ones now and then finds those that
are late; they are cancelled, and the cancellation comes out as TimeoutError, as it does from `asyncio.timeout`.
"""

import asyncio
import time
from types import TracebackType
from typing import Any


class _Guard:
    """The body of one `with`."""

    __slots__ = ("_deadlines", "_task", "began", "late")

    def __init__(self, deadlines: "Deadlines", began: float) -> None:
        self._deadlines = deadlines
        self.began = began
        self.late = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._deadlines.enter(task, self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.leave(self._task)
        if self.late and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Deadlines:
    """Ends what takes longer than `seconds`, at most a tenth of that late. Belongs to one event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at_work: dict[asyncio.Task[Any], _Guard] = {}
        self._watching = False

    def guard(self, began: float) -> _Guard:
        """`with deadlines.guard(time.perf_counter()):` raises TimeoutError from inside when time is up."""
        return _Guard(self, began)

    def enter(self, task: asyncio.Task[Any], guard: _Guard) -> None:
        """Watch a task from now on."""
        self._at_work[task] = guard
        if not self._watching:
            self._watching = True
            task.get_loop().call_later(self._seconds / 10, self._look, task.get_loop())

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Watch it no more."""
        del self._at_work[task]

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        latest = time.perf_counter() - self._seconds
        for task, guard in self._at_work.items():
            if guard.began > latest:
                break
            if not guard.late:
                guard.late = True
                task.cancel()
        self._watching = bool(self._at_work)
        if self._watching:
            loop.call_later(self._seconds / 10, self._look, loop)
