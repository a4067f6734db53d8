"""Time that the bank took counts; time that this process slept through does not."""

import asyncio
import random
import time
from collections.abc import Callable

import pytest
import uvloop

from tests.bank.readers import assert_right, publish, with_reader
from userip.bank.backends.redis.reader import RedisReader
from userip.bank.deadline import Deadlines

LOOPS = pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
Loop = Callable[[], asyncio.AbstractEventLoop] | None


def run(loop_factory: Loop, work: Callable[[], object]) -> None:
    """Run the coroutine function `work` in such a loop."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(work())  # type: ignore[arg-type]


@LOOPS
def test_time_is_up(loop_factory: Loop) -> None:
    """TimeoutError comes out, once; the task goes on, and can be timed again."""

    async def work() -> None:
        soon, late = Deadlines(0.01), Deadlines(60)
        for _ in range(2):
            with pytest.raises(TimeoutError), soon.watch():
                await asyncio.sleep(60)
        with pytest.raises(TimeoutError), late.watch(), soon.watch():
            await asyncio.sleep(60)
        with late.watch():
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(loop_factory, work)


@LOOPS
def test_late_work_is_ended_and_early_work_is_not(loop_factory: Loop) -> None:
    """Of many tasks under one deadline those that take longer raise TimeoutError inside, no other, and in time."""

    async def work(deadlines: Deadlines, seconds: float) -> str:
        began = time.perf_counter()
        try:
            with deadlines.watch(began):
                await asyncio.sleep(seconds)
        except TimeoutError:
            assert 0.19 <= time.perf_counter() - began < 5
            return "late"
        await asyncio.sleep(0)  # the cancellation is over: the task goes on
        return "done"

    async def scenario() -> None:
        deadlines = Deadlines(0.2)
        times = [random.choice((0, 0.01, 30)) for _ in range(200)]
        results = await asyncio.gather(*(work(deadlines, seconds) for seconds in times))
        assert results == ["late" if seconds > 1 else "done" for seconds in times]

    run(loop_factory, scenario)


@LOOPS
def test_what_began_long_ago_ends_before_what_began_now(loop_factory: Loop) -> None:
    """Whoever enters later with less time left is ended first; the other has all of its time."""

    async def work() -> None:
        deadlines = Deadlines(30)

        async def sleep(began: float) -> None:
            with deadlines.watch(began):
                await asyncio.sleep(60)

        fresh = asyncio.create_task(sleep(time.perf_counter()))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.create_task(sleep(time.perf_counter() - 29.99)), 10)
        assert not fresh.done()
        fresh.cancel()

    run(loop_factory, work)


def test_another_loop_begins_anew() -> None:
    """What was at work in a loop that is gone keeps nobody's time in the next one."""
    deadlines = Deadlines(0.01)

    async def work() -> None:
        with pytest.raises(TimeoutError), deadlines.watch():
            await asyncio.sleep(60)
        deadlines.watch().__enter__()

    for _ in range(2):
        asyncio.run(work())


@LOOPS
def test_a_task_that_is_cancelled_stays_cancelled(loop_factory: Loop) -> None:
    """A cancellation from outside is no timeout, also when both come at once."""

    async def timed(seconds: float) -> None:
        with Deadlines(seconds).watch():
            await asyncio.sleep(60)

    async def work() -> None:
        for seconds in (60, 0.005):
            task = asyncio.create_task(timed(seconds))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.005, task.cancel)
            if seconds == 60:
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                with pytest.raises((TimeoutError, asyncio.CancelledError)):
                    await task

    run(loop_factory, work)


@LOOPS
def test_a_reply_that_came_while_the_process_slept_is_taken(redis_url: str, loop_factory: Loop) -> None:
    """The process stands still for longer than the deadline with its question asked: no failure of the bank."""
    publish(redis_url)

    async def work(reader: RedisReader) -> None:
        await assert_right(reader, 0)
        for number in range(1, 4):
            task = asyncio.create_task(assert_right(reader, number))
            for _ in range(3):
                await asyncio.sleep(0)  # the question goes out
            time.sleep(0.25)
            await task

    with_reader(work, redis_url, loop_factory, deadline_s=0.1)
