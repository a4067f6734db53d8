"""Draining: after SIGTERM turn unready, go on answering for a while, then stop listening, losing no request.

A load balancer learns late that this worker leaves: probes run every few seconds, and a changed route takes time to
reach every node. Until then requests keep coming, and a closed port would refuse them.
"""

import asyncio
import signal
from types import FrameType

from structlog.typing import FilteringBoundLogger


class Drain:
    """Whether this worker is about to leave. `begun` turns true once and stays so."""

    def __init__(self) -> None:
        self.begun = False

    def on_sigterm(self, seconds: float, log: FilteringBoundLogger) -> None:
        """Begin at SIGTERM, and hand it to the server's own handler `seconds` later; a second one goes there at once.

        Call it on the event loop of the main thread, after the server has installed its handler. Without seconds to
        wait nothing is installed.
        """
        if not seconds:
            return
        loop, server = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

        def stop() -> None:
            if callable(server):
                server(signal.SIGTERM, None)

        def begin() -> None:
            if self.begun:
                stop()
                return
            self.begun = True
            log.info("draining", seconds=seconds)
            loop.call_later(seconds, stop)

        def handle(_: int, __: FrameType | None) -> None:
            loop.call_soon_threadsafe(begin)

        signal.signal(signal.SIGTERM, handle)
