"""What the parts of an evaluation took."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from userip.evaluation.results import Timing


@dataclass
class Clock:
    """Seconds of wall time of every part, and the peak memory until its end: of this process or its largest child."""

    timings: list[Timing] = field(default_factory=list)

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Measure the block."""
        begun = time.monotonic()
        yield
        self.timings.append(Timing(what, round(time.monotonic() - begun, 1), round(peak_memory_mb(), 1)))


def peak_memory_mb() -> float:
    """Peak resident memory of this process or of the largest of its finished children, in MiB."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss for one in whose) / 1024
