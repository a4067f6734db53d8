"""File descriptors: some are kept back from connections, so that the bank, releases and keys can still be opened."""

import math
import resource
import time
from collections.abc import Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

_SPARE: Final = 16  # of a low limit an eighth
_TELL_EVERY_S: Final = 60.0


class Descriptors:
    """Says which connections there is no descriptor to spare for; counts and logs them."""

    def __init__(self, log: FilteringBoundLogger, count: Callable[[], None]) -> None:
        self._log, self._count = log, count
        self._told = -math.inf

    def spares(self, descriptor: int) -> bool:
        """Whether a connection may keep its `descriptor`. The system gives the lowest free number, so a high one means
        that next to none is left."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit == resource.RLIM_INFINITY or descriptor < limit - min(_SPARE, limit // 8):
            return True
        self._count()
        if (now := time.monotonic()) - self._told >= _TELL_EVERY_S:
            self._told = now
            self._log.error("connections are refused: no file descriptor is left; raise ulimit -n", limit=limit)
        return False
