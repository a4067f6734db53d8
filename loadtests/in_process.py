"""The paper's own measure: seconds per 10,000 instances, lookup included: `userip bench --only in-process`.

It times the service's own code between decoding and encoding (`scoring.dataplane`) over a real bank, variants in
turns (A B C D A B C D). The clock starts with a decoded request, whose ids are fresh strings as a decoder makes
them, and stops with the scores. `bare-onnx` is userip's folded graph on ready arrays: no service can be faster.

scenario         bank    records in the service's cache
in-process       Redis   none: every request asks the bank
in-process-warm  Redis   all
in-process-lmdb  LMDB    none
"""

import asyncio
import contextlib
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import uvloop
from numpy.typing import NDArray

from userip.bank import AsyncReader, open_bank, open_reader
from userip.bank.opening import backend_of
from userip.loadtests.errors import LoadTestError
from userip.loadtests.scenarios import Preset
from userip.loadtests.traffic.figures import quantiles_of
from userip.loadtests.traffic.workload import Population, Workload, make_workload, population_of_release
from userip.ops.publish import publish_release
from userip.release.manifest import SCORER, read_manifest
from userip.release.tables import map_tables
from userip.scoring.dataplane import Dataplane
from userip.scoring.lookup.breaker import Breaker
from userip.scoring.lookup.profiles import Profile, Profiles
from userip.scoring.lookup.record_cache import RecordCache
from userip.scoring.messages import ScoreRequest
from userip.scoring.onnx_runtime import ort
from userip.scoring.releases.current_release import CurrentRelease, load_and_warm_up
from userip.scoring.releases.loaded_release import Release
from userip.scoring.request_stats import RequestStats
from userip.service.observe.log import make_logger
from userip.training.progress import track

Row = dict[str, Any]
Times = NDArray[np.float64]
Turn = Callable[[int], Awaitable[Times]]  # so many calls -> seconds of each
Cache = Literal["off", "warm"]
SIZES: Final = (1, 10, 100, 500, 1000, 10_000)
BARE: Final = "bare-onnx"


@dataclass(frozen=True)
class Effort:
    """`repeats` turns of every variant, each of about `instances` pairs, in `least` to `most` calls."""

    repeats: int
    instances: int
    least: int
    most: int

    def calls(self, candidates: int) -> int:
        """Requests of one turn."""
        return min(max(self.instances // candidates, self.least), self.most)


EFFORTS: Final[Mapping[Preset, Effort]] = {
    "quick": Effort(repeats=7, instances=20_000, least=4, most=300),
    "full": Effort(repeats=25, instances=50_000, least=5, most=1000),
}


def measure(
    releases: Mapping[str, Path],
    bank_url: str,
    preset: Preset | Effort = "quick",
    *,
    sizes: Sequence[int] = SIZES,
    caches: Sequence[Cache] = ("off", "warm"),
    seed: int = 0,
) -> list[Row]:
    """Rows of every variant, number of candidates and repeat. What the bank lacks is published, never activated.

    The service takes as many candidates as the largest of `sizes`. Raises ReleaseError, BankError, or LoadTestError
    for an answer that does not rest on the user's record: its time would be of something else.
    """
    with contextlib.closing(open_bank(bank_url)) as bank:
        there = {info.name for info in bank.releases()}
        for release in releases.values():
            if read_manifest(release).release not in there:
                publish_release(release, bank, activate=False)
    effort = EFFORTS[preset] if isinstance(preset, str) else preset
    cases = [(cache, size) for cache in caches for size in sizes]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(releases, bank_url, effort, cases, seed))


def measure_all(releases: Mapping[str, Path], redis_url: str, preset: Preset) -> list[Row]:
    """The rows of every scenario, over the Redis database `redis_url` and a fresh LMDB bank."""
    with tempfile.TemporaryDirectory(prefix="userip-in-process-") as directory:
        rows = measure(releases, redis_url, preset)
        return rows + measure(releases, f"lmdb://{directory}/bank", preset, caches=("off",))


async def _measure(
    releases: Mapping[str, Path], url: str, effort: Effort, cases: Sequence[tuple[Cache, int]], seed: int
) -> list[Row]:
    bank = backend_of(url)
    population = population_of_release(next(iter(releases.values())), seed)
    largest = max(size for _, size in cases)
    loaded = {name: load_and_warm_up(path, largest) for name, path in releases.items()}
    reader = open_reader(url, deadline_s=5.0, max_connections=4)
    rows: list[Row] = []
    gc.freeze()  # as the service does once it has loaded: a collection would walk all ids during one variant's turn
    try:
        for cache, size in track(cases, label=f"in-process, {bank}"):
            workload = make_workload(population, "/score", size, seed=seed)
            turns = {
                name: await _turn_of(CurrentRelease(releases[name], release, reader, largest), reader, workload, cache)
                for name, release in loaded.items()
            }
            if "userip" in loaded:
                turns[BARE] = _bare_turn(releases["userip"], loaded["userip"], population, workload)
            scenario = "in-process" + ("-warm" if cache == "warm" else "") + ("-lmdb" if bank == "lmdb" else "")
            fixed = {"scenario": scenario, "candidates": size, "cache": cache, "bank": bank}
            rows += [fixed | row for row in await _in_turns(turns, effort, size)]
    finally:
        gc.unfreeze()
        await reader.close()
    return rows


async def _in_turns(turns: Mapping[str, Turn], effort: Effort, candidates: int) -> list[Row]:
    for turn in turns.values():
        await turn(min(effort.calls(candidates), 20))
    return [
        {"variant": name, "repeat": repeat, **_figures(await turn(effort.calls(candidates)), candidates)}
        for repeat in range(effort.repeats)
        for name, turn in turns.items()
    ]


async def _turn_of(current: CurrentRelease, reader: AsyncReader, workload: Workload, cache: Cache) -> Turn:
    """A turn of the service's own code, its cache filled with all users of the workload, or kept empty."""
    records = RecordCache[Profile](0 if cache == "off" else 2 * len(workload), 3600.0)
    profiles = Profiles(reader, make_logger("error"), records, Breaker(0, 1.0))
    release = current.release
    users = {ask.user_id for asks in workload.asks for ask in asks}
    found = await profiles.read(release.name, release.scorer.shape, list(users), RequestStats())
    if any(profile.record is None for profile in found):
        raise LoadTestError(f"release {release.name}: the bank does not give the records of its users")
    bodies = [workload.body(index) for index in range(len(workload))]
    return partial(_score, Dataplane(current, profiles), bodies)


async def _score(plane: Dataplane, bodies: Sequence[bytes], calls: int) -> Times:
    # Decoded again for every call, outside the measured time: a string that was looked up before keeps its hash.
    decode = msgspec.json.Decoder(ScoreRequest).decode
    times = np.empty(calls)
    for call in range(calls):
        requests = [decode(bodies[call % len(bodies)])]
        stats = RequestStats()
        started = time.perf_counter()
        (answer,) = await plane.score(requests, stats, batch=False)
        times[call] = time.perf_counter() - started
        if answer.profile != "known" or answer.unknown_items:
            raise LoadTestError(
                f"user {answer.user_id}: profile {answer.profile} ({stats.bank_failure or 'the bank answered'}), "
                f"{len(answer.unknown_items)} unknown items, after {times[call]:.3f} s; is the bank busy or altered?"
            )
    return times


def _bare_turn(directory: Path, release: Release, population: Population, workload: Workload) -> Turn:
    """A turn of the graph alone, on arrays that are ready, of the same candidates."""
    manifest, shape, rows = release.manifest, release.scorer.shape, release.item_rows
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession((directory / SCORER).read_bytes(), options, providers=["CPUExecutionProvider"])
    feed: dict[str, Any] = {**map_tables(directory, manifest)}
    if shape.user:
        feed["user"] = np.array([shape.user - 1])
    for name, sizes in (("slots", shape.slots), ("context", shape.context)):
        if sizes:
            feed[name] = np.array([[size - 1 for size in sizes]])
    asked = [np.array([rows[item] for item in ask.item_ids]) for (ask,) in workload.asks]
    request = np.zeros(len(asked[0]), np.int64)

    async def run(calls: int) -> Times:
        times = np.empty(calls)
        for call in range(calls):
            now = feed | {"items": asked[call % len(asked)], "request": request}
            started = time.perf_counter()
            session.run(("probability",), now)
            times[call] = time.perf_counter() - started
        return times

    return run


def _figures(times: Times, candidates: int) -> Row:
    p50, p95, p99 = (value for _, value in quantiles_of(times * 1000, (0.5, 0.95, 0.99)))
    return {
        "generator": "in-process",
        "seconds_per_10k": float(times.sum()) / (len(times) * candidates) * 10_000,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "requests": len(times),
    }
