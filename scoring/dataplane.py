"""What the service does, without HTTP: requests in, scores and profiles out.

Each call takes the served release once and uses it to the end: a swap falls between two calls, never in one.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from userip.bank.record import UNKNOWN_CODE
from userip.scoring.current_release import Serving
from userip.scoring.errors import BankAwayError, FieldProblem, InvalidRequestError, UnknownUserError
from userip.scoring.loaded_release import Release
from userip.scoring.lookup import Outcome, Profile, Profiles
from userip.scoring.messages import ScoreRequest
from userip.scoring.scorer import Task

if TYPE_CHECKING:
    from userip.scoring.shadow import Shadow


@dataclass(slots=True)
class Facts:
    """What happened while answering, for the metrics and the access log."""

    release: str = ""
    outcomes: list[Outcome] = field(default_factory=list)
    candidates: int = 0
    unknown_items: int = 0
    unknown_context: int = 0
    corrupt: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    stale: int = 0
    replica: int = 0
    bank_failure: str | None = None
    stages: dict[str, float] = field(default_factory=dict)  # decode, lookup, score, encode: seconds
    encoded: float = 0.0  # time.perf_counter() when the answer was ready


@dataclass(slots=True)
class Scored:
    """One answer: scores float32 [N] in the order of the candidates, and the positions of unknown items."""

    user_id: str
    profile: Outcome
    scores: NDArray[np.float32]
    unknown_items: list[int]


@dataclass(slots=True)
class Code:
    """One facet of one user. `code` is None where inference gave none."""

    facet: str
    code: int | None
    codebook_size: int
    description: tuple[str, ...]


class Dataplane:
    """Scores and explains. Safe to call from many tasks at once."""

    shadow: "Shadow | None" = None  # is offered every answered request

    def __init__(self, serving: Serving, profiles: Profiles) -> None:
        self._serving = serving
        self._profiles = profiles

    async def score(self, requests: Sequence[ScoreRequest], facts: Facts, *, batch: bool) -> list[Scored]:
        """One bank read and one run of the graph for all requests; fills `facts`.

        `batch` says how fields are named in errors. Raises InvalidRequestError for a context field that the
        release does not have, ScoringError for a graph that gives no probabilities.
        """
        release = self._serving.current
        facts.release = release.name
        contexts = _context_rows(release, requests, facts, batch=batch)
        if not requests:
            return []
        profiles = await self._read(release, [request.user_id for request in requests], facts)
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
        facts.stages["score"] = time.perf_counter() - started
        facts.candidates = candidates
        answers = []
        for request, profile, task, scores in zip(requests, profiles, tasks, results, strict=True):
            unknown = [] if task.items.all() else np.flatnonzero(task.items == 0).tolist()
            facts.unknown_items += len(unknown)
            answers.append(Scored(request.user_id, profile.outcome, scores, unknown))
        if self.shadow is not None:
            self.shadow.offer(requests, answers)
        return answers

    async def profile(self, user_id: str, facts: Facts) -> tuple[str, list[Code]]:
        """Give the release's name and the user's code of every facet, described.

        Raises UnknownUserError, or BankAwayError when the bank did not answer in time.
        """
        release = self._serving.current
        facts.release = release.name
        (profile,) = await self._read(release, [user_id], facts, cached=False)  # who looks wants to see what is there
        if profile.outcome == "unavailable":
            raise BankAwayError
        if profile.record is None:
            raise UnknownUserError
        codes = []
        for facet in release.manifest.facets:
            code = profile.record.codes[facet.slot]
            known = code != UNKNOWN_CODE
            codes.append(
                Code(
                    facet.name,
                    code if known else None,
                    facet.codebook_size,
                    facet.codes[code].description if known else (),
                )
            )
        return release.name, codes

    async def _read(
        self, release: Release, user_ids: Sequence[str], facts: Facts, *, cached: bool = True
    ) -> list[Profile]:
        reading = await self._profiles.read(release.name, release.scorer.shape, user_ids, cached=cached)
        facts.outcomes = [profile.outcome for profile in reading.profiles]
        facts.corrupt = reading.corrupt
        facts.cache_hits = reading.hits
        facts.cache_misses = len(user_ids) - reading.hits
        facts.stale = reading.stale
        facts.replica = reading.replica
        facts.bank_failure = reading.failure
        if reading.seconds is not None:
            facts.stages["lookup"] = reading.seconds
        return reading.profiles


def _profile_rows(profile: Profile, slots: int) -> tuple[int, Sequence[int]]:
    """Turn a profile into the user's row and one row per slot: code k has row k + 1, unknown has row 0."""
    if profile.record is None:
        return 0, (0,) * slots
    return profile.record.row, [(code + 1) & 0xFFFF for code in profile.record.codes]


def _context_rows(
    release: Release, requests: Sequence[ScoreRequest], facts: Facts, *, batch: bool
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
        facts.unknown_context += sum(
            name in context and found == 0 for (name, _), found in zip(release.context_rows, row, strict=True)
        )
        rows.append(row)
    if problems:
        raise InvalidRequestError(problems[:20])
    return rows
