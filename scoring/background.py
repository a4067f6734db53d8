"""Background work of a worker, restarted at growing intervals when it fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

_SHORTEST_WAIT_S: Final = 1.0  # after a failure
_LONGEST_WAIT_S: Final = 60.0


async def keep_doing(
    work: Callable[[], Awaitable[object]], log: FilteringBoundLogger, problem: str, every_s: float = 0.0
) -> None:
    """Do `work`, wait `every_s` seconds, and again, until cancelled.

    `work` handles the errors that it expects. Any other is logged as `problem` with its traceback, once until the work
    succeeds or fails differently, and the work is tried again at growing intervals: if it ended here, nobody would
    notice until much later.
    """
    said, wait_s = "", every_s
    while True:
        try:
            await work()
        except Exception as error:
            cause = repr(error)
            if cause != said:
                log.exception(problem)
            said, wait_s = cause, min(max(2 * wait_s, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)
        else:
            said, wait_s = "", every_s
        await asyncio.sleep(wait_s)
