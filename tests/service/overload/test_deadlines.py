"""Work that takes longer than its deadline is ended."""

import asyncio
import random
import time

import pytest

from userip.service.overload.deadlines import Deadlines


def test_late_work_is_ended_and_early_work_is_not() -> None:
    """Of many tasks those that take longer than the deadline raise TimeoutError inside, no other."""

    async def work(deadlines: Deadlines, seconds: float) -> str:
        try:
            with deadlines.guard(time.perf_counter()):
                await asyncio.sleep(seconds)
        except TimeoutError:
            return "late"
        await asyncio.sleep(0)  # the cancellation is over: the task goes on
        return "done"

    async def scenario() -> None:
        deadlines = Deadlines(0.2)
        times = [random.choice((0, 0.01, 30)) for _ in range(200)]
        results = await asyncio.gather(*(work(deadlines, seconds) for seconds in times))
        assert results == ["late" if seconds > 1 else "done" for seconds in times]

    asyncio.run(scenario())


def test_a_cancelled_request_stays_cancelled() -> None:
    """Who is cancelled from outside does not look late."""

    async def scenario() -> None:
        deadlines = Deadlines(60)

        async def work() -> None:
            with deadlines.guard(time.perf_counter()):
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
