"""Replaying a release's golden requests: the last check before it is served."""

from pathlib import Path

import numpy as np

from userip.bank.record import UNKNOWN_CODE
from userip.release.errors import ReleaseError
from userip.release.golden import GOLDEN, TOLERANCE, GoldenRequest, read_golden
from userip.scoring.releases.loaded_release import Release
from userip.scoring.scorer import Task


def check_golden(release: Release, directory: Path) -> int:
    """Score all golden requests of the release and compare; give their number, 0 for a release without any.

    Raises ReleaseError, naming the request, for a probability that is off by more than 1e-5 or a request that does
    not fit the manifest; ScoringError as the scorer does.
    """
    path, golden = directory / GOLDEN, read_golden(directory, release.manifest)
    if golden is None:
        return 0
    tasks = [_task(release, request, f"{path}: request {number}") for number, request in enumerate(golden.requests)]
    for number, (request, scores) in enumerate(zip(golden.requests, release.scorer.run(tasks), strict=True)):
        for item, score, expected in zip(request.items, scores.tolist(), request.probabilities, strict=True):
            if not abs(score - expected) <= TOLERANCE:
                raise ReleaseError(
                    f"{path}: request {number}: item {item!r} scores {score:.7f}, recorded was {expected:.7f}; "
                    "scores differ from the export's: export again, or compare library versions"
                )
    return len(golden.requests)


def _task(release: Release, request: GoldenRequest, where: str) -> Task:
    """The request as the dataplane would hand it on. Rows beyond the tables are refused, not clipped."""
    shape = release.scorer.shape
    codes = request.codes if request.codes is not None else (UNKNOWN_CODE,) * len(shape.slots)
    slots = [(code + 1) & 0xFFFF for code in codes]
    fits = len(slots) == len(shape.slots) and all(row < size for row, size in zip(slots, shape.slots, strict=True))
    if not fits or request.row >= (shape.user or request.row + 1) or len(request.items) != len(request.probabilities):
        raise ReleaseError(f"{where}: it does not fit the fields of the manifest; export again")
    return Task(
        np.array([release.item_rows.get(item, 0) for item in request.items], np.int64),
        request.row,
        slots,
        [values.get(request.context.get(name, ""), 0) for name, values in release.context_rows],
    )
