"""The shadow: a sample of the requests is scored by a second release too, to see how its scores differ.

Nothing of it reaches an answer. A request is queued when its answer is ready and scored again later, with the second
release's own records from the bank. What does not fit the queue is dropped, and after each comparison the shadow rests
three times as long, so it takes at most a quarter of the worker's time.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from structlog.typing import FilteringBoundLogger

from userip.bank.protocol import AsyncReader
from userip.disk import DiskFullError
from userip.release.errors import ReleaseError
from userip.scoring.background import keep_doing
from userip.scoring.dataplane import Dataplane, Scored
from userip.scoring.errors import ScoringError
from userip.scoring.lookup.profiles import make_profiles, reader_of
from userip.scoring.messages import ScoreRequest, ShadowAnswer
from userip.scoring.releases.current_release import CurrentRelease, load_and_warm_up
from userip.scoring.request_stats import RequestStats
from userip.scoring.settings import LookupSettings

_MOST_CANDIDATES = 20_000  # that wait; with more, requests are dropped
_REST = 3.0  # seconds of rest for each second of work
_CONNECTIONS = 4


class ShadowMetrics(Protocol):
    """Where comparisons are counted."""

    def shadowed(self, outcome: str, differences: NDArray[np.float64] | None = None) -> None:
        """A request was compared, failed or dropped; `differences` float64 [N]: of the probabilities, absolute."""


@dataclass(slots=True)
class Differences:
    """What was compared so far by this worker; a difference is the shadow's probability less the served one."""

    compared: int = 0
    dropped: int = 0
    failed: int = 0
    candidates: int = 0
    total: float = 0.0
    absolute: float = 0.0
    largest: float = 0.0


class Shadow:
    """The second release and the requests that wait for it."""

    def __init__(
        self,
        current: CurrentRelease,
        dataplane: Dataplane,
        metrics: ShadowMetrics,
        log: FilteringBoundLogger,
        sample_rate: float,
        reader: AsyncReader,
    ) -> None:
        self.seen = Differences()
        self._sample_rate = sample_rate
        self._current = current
        self._dataplane = dataplane
        self._metrics = metrics
        self._log = log
        self._reader = reader
        self._waiting: deque[tuple[Sequence[ScoreRequest], Sequence[Scored]]] = deque()
        self._candidates = 0
        self._some = asyncio.Event()

    def describe(self) -> ShadowAnswer:
        """What was compared so far by this worker."""
        seen = self.seen
        some = seen.candidates > 0
        return ShadowAnswer(
            release=self._current.release.name,
            share=self._sample_rate,
            compared=seen.compared,
            dropped=seen.dropped,
            failed=seen.failed,
            candidates=seen.candidates,
            mean_difference=seen.total / seen.candidates if some else None,
            mean_absolute_difference=seen.absolute / seen.candidates if some else None,
            largest_difference=seen.largest if some else None,
        )

    def offer(self, requests: Sequence[ScoreRequest], answers: Sequence[Scored]) -> None:
        """Take some of what was answered, if there is room. Called for every request: the rest waits for `run`."""
        if random.random() >= self._sample_rate:  # noqa: S311  (no secret)
            return
        if self._candidates > _MOST_CANDIDATES:
            self.seen.dropped += 1
            self._metrics.shadowed("dropped")
            return
        self._candidates += sum(len(request.item_ids) for request in requests)
        self._waiting.append((requests, answers))
        self._some.set()

    async def run(self) -> None:
        """Compare what waits, until cancelled."""
        try:
            await keep_doing(self._compare_next, self._log, "could not compare with the shadow release")
        finally:
            await self._reader.close()

    async def _compare_next(self) -> None:
        await self._some.wait()
        requests, answers = self._waiting.popleft()
        self._candidates -= sum(len(request.item_ids) for request in requests)
        if not self._waiting:
            self._some.clear()
        started = time.perf_counter()
        await self._compare(requests, answers)
        await asyncio.sleep(_REST * (time.perf_counter() - started))

    async def _compare(self, requests: Sequence[ScoreRequest], answers: Sequence[Scored]) -> None:
        fields = {name for name, _ in self._current.release.context_rows}
        asked = [_with_fields(request, fields) for request in requests]
        try:
            others = await self._dataplane.score(asked, RequestStats(), batch=True)
        except ScoringError:
            others = []
        # A profile that one of the two could not read would show the bank's state, not the release's.
        if not others or any(scored.profile == "unavailable" for scored in (*answers, *others)):
            self.seen.failed += 1
            self._metrics.shadowed("failed")
            return
        pairs = zip(answers, others, strict=True)
        difference = np.concatenate([other.scores - answer.scores for answer, other in pairs]).astype(np.float64)
        absolute, seen = np.abs(difference), self.seen
        self._metrics.shadowed("compared", absolute)
        seen.compared += 1
        seen.candidates += len(difference)
        seen.total += float(difference.sum())
        seen.absolute += float(absolute.sum())
        seen.largest = max(seen.largest, float(absolute.max(initial=0.0)))


def make_shadow(
    directory: Path,
    sample_rate: float,
    lookup: LookupSettings,
    largest: int,
    *,
    metrics: ShadowMetrics,
    log: FilteringBoundLogger,
    shared: Path | None = None,
) -> Shadow | None:
    """Load the release in `directory`. One that cannot be loaded is logged and left out: it must not stop a service."""
    try:
        release = load_and_warm_up(directory, largest, shared)
    except (ReleaseError, ScoringError, DiskFullError, OSError) as error:
        log.error("shadow release cannot be loaded; nothing is compared", problem=str(error))
        return None
    own = replace(lookup, connections=_CONNECTIONS, cache_records=0)  # it keeps nobody whom the bank forgets
    reader = reader_of(own)
    current = CurrentRelease(directory, release, reader, largest, shared=shared)
    dataplane = Dataplane(current, make_profiles(reader, own, log.bind(shadow=release.name)))
    return Shadow(current, dataplane, metrics, log, sample_rate, reader)


def _with_fields(request: ScoreRequest, fields: set[str]) -> ScoreRequest:
    """The request without context fields that the shadow's release does not have."""
    if not request.context or request.context.keys() <= fields:
        return request
    known = {name: value for name, value in request.context.items() if name in fields}
    return ScoreRequest(request.user_id, request.item_ids, known)
