"""Time that the bank took counts; time that this process slept through does not."""

import asyncio
import time
from collections.abc import Callable

import pytest
import uvloop

from tests.bank.readers import assert_right, publish, with_reader
from userip.bank.backends.redis.reader import RedisReader
from userip.bank.deadline import Deadline

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
        for _ in range(2):
            with pytest.raises(TimeoutError), Deadline(0.01):
                await asyncio.sleep(60)
        with Deadline(60):
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(loop_factory, work)


@LOOPS
def test_a_task_that_is_cancelled_stays_cancelled(loop_factory: Loop) -> None:
    """A cancellation from outside is no timeout, also when both come at once."""

    async def timed(seconds: float) -> None:
        with Deadline(seconds):
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
