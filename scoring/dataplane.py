"""What the service does, without HTTP: requests in, scores and profiles out.

Each call takes the served release once and uses it to the end: a swap falls between two calls, never in one.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from userip.bank.record import UNKNOWN_CODE
from userip.scoring.errors import BankAwayError, InvalidRequestError, UnknownUserError
from userip.scoring.lookup.profiles import Outcome, Profile, Profiles
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
        release = self._current.release
        stats.release = release.name
        contexts = _context_rows(release, requests, stats, batch=batch)
        if not requests:
            return []
        profiles = await self._read(release, [request.user_id for request in requests], stats)
        row_of = release.item_rows.get
        tasks = []
        for request, profile, context in zip(requests, profiles, contexts, strict=True):
            user, slots = _profile_rows(profile, len(release.scorer.shape.slots))
            vector = b"" if profile.record is None else profile.record.vector
            tasks.append(
                Task(
                    np.fromiter(map(row_of, request.item_ids, repeat(0)), np.int64, len(request.item_ids)),
                    user,
                    slots,
                    context,
                    vector,
                )
            )
        candidates = sum(len(task.items) for task in tasks)
        started = time.perf_counter()
        if candidates > release.scorer.long_run:
            results = await asyncio.to_thread(release.scorer.run, tasks)
        else:
            results = release.scorer.run(tasks)
        stats.stages["score"] = time.perf_counter() - started
        stats.candidates = candidates
        answers = []
        for request, profile, task, scores in zip(requests, profiles, tasks, results, strict=True):
            unknown = [] if task.items.all() else np.flatnonzero(task.items == 0).tolist()
            stats.unknown_items += len(unknown)
            answers.append(Scored(request.user_id, profile.outcome, scores, unknown))
        if self._observer is not None:
            self._observer(requests, answers)
        return answers

    async def profile(self, user_id: str, stats: RequestStats) -> ProfileAnswer:
        """The user's code of every facet, described.

        Raises UnknownUserError, or BankAwayError when the bank cannot be read.
        """
        release = self._current.release
        stats.release = release.name
        (profile,) = await self._read(release, [user_id], stats, cached=False)  # who looks wants to see what is there
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

    async def _read(
        self, release: Release, user_ids: Sequence[str], stats: RequestStats, *, cached: bool = True
    ) -> list[Profile]:
        profiles = await self._profiles.read(release.name, release.scorer.shape, user_ids, stats, cached=cached)
        stats.outcomes = [profile.outcome for profile in profiles]
        return profiles


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
    names = {name for name, _ in release.context_rows}
    for number, request in enumerate(requests):
        context = request.context
        if not context:
            rows.append(nothing)
            continue
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
