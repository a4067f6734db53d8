"""What the service does, without HTTP: requests in, scores and profiles out.

Each call takes the served release once and uses it to the end: a swap falls between two calls, never in one.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from userip.bank.record import UNKNOWN_CODE
from userip.scoring.errors import BankAwayError, InvalidRequestError, UnknownUserError
from userip.scoring.lookup.profiles import Outcome, Pending, Profile, Profiles
from userip.scoring.messages import FieldProblem, ProfileAnswer, ProfileCode, ScoreRequest
from userip.scoring.releases.current_release import CurrentRelease
from userip.scoring.releases.loaded_release import Release
from userip.scoring.request_stats import RequestStats
from userip.scoring.scorer import Task


@dataclass(slots=True)
class Scored:
    """One answer: scores float32 [N] in the order of the candidates, and the positions of unknown items."""

    user_id: str
    profile: Outcome
    scores: NDArray[np.float32]
    unknown_items: list[int]


Observer = Callable[[Sequence[ScoreRequest], Sequence[Scored]], None]  # is shown every answered request


class Dataplane:
    """Scores and explains. Safe to call from many tasks at once."""

    def __init__(self, current: CurrentRelease, profiles: Profiles, observer: Observer | None = None) -> None:
        self._current = current
        self._profiles = profiles
        self._observer = observer

    async def score(self, requests: Sequence[ScoreRequest], stats: RequestStats, *, batch: bool) -> list[Scored]:
        """One bank read and one run of the graph for all requests; fills `stats`.

        `batch` says how fields are named in errors. Raises InvalidRequestError for a context field that the
        release does not have, ScoringError for a graph that gives no probabilities.
        """
        scored = self.begin(requests, stats, batch=batch)
        return scored if isinstance(scored, list) else await scored

    def begin(self, requests: Sequence[ScoreRequest], stats: RequestStats, *, batch: bool) -> Pending[Scored]:
        """What `score` gives, at once where the cache has all profiles and the run is short."""
        release = self._current.release
        stats.release = release.name
        contexts = _context_rows(release, requests, stats, batch=batch)
        if not requests:
            return []
        stats.candidates = sum(len(request.item_ids) for request in requests)
        user_ids = [request.user_id for request in requests]
        profiles = self._profiles.begin(release.name, release.scorer.shape, user_ids, stats)
        run = partial(_run, release, requests, contexts, stats)
        long = stats.candidates > release.scorer.long_run
        if long or not isinstance(profiles, list):
            return self._later(requests, profiles, run, long=long)
        return self._shown(requests, run(profiles))

    async def _later(
        self,
        requests: Sequence[ScoreRequest],
        pending: Pending[Profile],
        run: Callable[[Sequence[Profile]], list[Scored]],
        *,
        long: bool,
    ) -> list[Scored]:
        profiles = pending if isinstance(pending, list) else await pending
        return self._shown(requests, await asyncio.to_thread(run, profiles) if long else run(profiles))

    def _shown(self, requests: Sequence[ScoreRequest], answers: list[Scored]) -> list[Scored]:
        if self._observer is not None:
            self._observer(requests, answers)
        return answers

    async def profile(self, user_id: str, stats: RequestStats) -> ProfileAnswer:
        """The user's code of every facet, described.

        Raises UnknownUserError, or BankAwayError when the bank cannot be read.
        """
        release = self._current.release
        stats.release = release.name
        # Not from the cache: who looks wants to see what is there.
        (profile,) = await self._profiles.read(release.name, release.scorer.shape, [user_id], stats, cached=False)
        stats.outcomes = [profile.outcome]
        if profile.outcome == "unavailable":
            raise BankAwayError
        if profile.record is None:
            raise UnknownUserError
        codes = []
        for facet in release.manifest.facets:
            code = profile.record.codes[facet.slot]
            known = code != UNKNOWN_CODE
            described = list(facet.codes[code].description) if known else []
            codes.append(ProfileCode(facet.name, code if known else None, facet.codebook_size, described))
        return ProfileAnswer(user_id, release.name, codes)


def _run(
    release: Release,
    requests: Sequence[ScoreRequest],
    contexts: Sequence[Sequence[int]],
    stats: RequestStats,
    profiles: Sequence[Profile],
) -> list[Scored]:
    stats.outcomes = [profile.outcome for profile in profiles]
    row_of, slots, tasks = release.item_rows.get, len(release.scorer.shape.slots), []
    for request, profile, context in zip(requests, profiles, contexts, strict=True):
        items = np.fromiter(map(row_of, request.item_ids, repeat(0)), np.int64, len(request.item_ids))
        user, codes = _profile_rows(profile, slots)
        tasks.append(Task(items, user, codes, context, b"" if profile.record is None else profile.record.vector))
    started = time.perf_counter()
    results = release.scorer.run(tasks)
    stats.stages["score"] = time.perf_counter() - started
    answers = []
    for request, profile, task, scores in zip(requests, profiles, tasks, results, strict=True):
        unknown = [] if task.items.all() else np.flatnonzero(task.items == 0).tolist()
        stats.unknown_items += len(unknown)
        answers.append(Scored(request.user_id, profile.outcome, scores, unknown))
    return answers


def _profile_rows(profile: Profile, slots: int) -> tuple[int, Sequence[int]]:
    """Turn a profile into the user's row and one row per slot: code k has row k + 1, unknown has row 0."""
    if profile.record is None:
        return 0, (0,) * slots
    return profile.record.row, [(code + 1) & 0xFFFF for code in profile.record.codes]


def _context_rows(
    release: Release, requests: Sequence[ScoreRequest], stats: RequestStats, *, batch: bool
) -> list[Sequence[int]]:
    """One row per context field and request: 0 where the request gives none, or a value never seen."""
    nothing = (0,) * len(release.context_rows)
    rows: list[Sequence[int]] = []
    problems = []
    for number, request in enumerate(requests):
        context = request.context
        if not context:
            rows.append(nothing)
            continue
        names = {name for name, _ in release.context_rows}
        prefix = f"requests[{number}]." if batch else ""
        known = ", ".join(sorted(names)) or "none"
        problems += [
            FieldProblem(f"{prefix}context.{name}", f"no such context field; the release has {known}")
            for name in context
            if name not in names
        ]
        row = [values.get(context.get(name, ""), 0) for name, values in release.context_rows]
        stats.unknown_context_values += sum(
            name in context and found == 0 for (name, _), found in zip(release.context_rows, row, strict=True)
        )
        rows.append(row)
    if problems:
        raise InvalidRequestError(problems[:20])
    return rows
