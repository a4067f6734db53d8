"""Load while releases are swapped: every answer must be right for the release that it names."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import orjson

from userip.loadtests.servers.processes import HOST
from userip.loadtests.traffic.answers import TOLERANCE, Verifier
from userip.loadtests.traffic.generator import LoadGenerator, Plan
from userip.loadtests.traffic.wire import Connection
from userip.loadtests.traffic.workload import Workload


class Watcher(LoadGenerator):
    """Requests at a rate until told to stop; judges every answer by the release that it names."""

    def __init__(
        self, port: int, workload: Workload, right: Mapping[str, Sequence[Any]], connections: int = 16
    ) -> None:
        super().__init__(
            Plan(port=port, workload="", connections=connections), workload.messages(f"{HOST}:{port}"), Verifier({})
        )
        self.wrong = 0
        self.done = threading.Event()
        self.failed_with: BaseException | None = None
        self._right = right
        self._size = len(workload)

    def at_rate(self, rate: float) -> None:
        """Poisson arrivals until `done`; for a thread of its own."""
        rng = np.random.default_rng(0)

        def due() -> Iterator[float]:
            moment = time.perf_counter()
            while True:
                moment += rng.exponential(1 / rate)
                yield moment

        def order() -> Iterator[int]:
            for index in cycle(range(self._size)):
                if self.done.is_set():
                    return
                yield index

        try:
            self.run(order(), float("inf"), due(), 0.0)
        except BaseException as error:  # told by the thread that waits
            self.failed_with = error

    def _take(self, connection: Connection, answer: tuple[int, bytes], measure_from: float) -> None:
        super()._take(connection, answer, measure_from)
        if answer[0] == 200:
            told = orjson.loads(answer[1])
            right = self._right[told["release"]][connection.index]
            self.wrong += (
                told["profile"] != "known" or not np.abs(np.asarray(told["scores"]) - right).max() <= TOLERANCE
            )
