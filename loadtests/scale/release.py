"""What a large release costs (`userip bench --only release-scale`). Linux: memory is read from /proc.

A release of userip with 1,000,000 items and 1,000,000 users, random weights, the default widths. For it and for a
small one: seconds to load in a fresh process, memory of one worker and of two, which share the mapped tables, and
the time of a request of 100 candidates, ids to scores, the two releases in turns.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from userip.loadtests.errors import LoadTestError
from userip.loadtests.traffic.figures import quantiles_of
from userip.loadtests.traffic.workload import cumulative, distinct, population_of_release
from userip.loadtests.variants import build_variants
from userip.processes import environment
from userip.scoring.messages import ScoreRequest
from userip.scoring.releases.loaded_release import Release, load_release
from userip.scoring.scorer import Task
from userip.training.progress import track

Row = dict[str, Any]
Size = tuple[int, int]  # users, items
SIZES: Final = ((10_000, 10_000), (1_000_000, 1_000_000))
CANDIDATES: Final = 100
_SUMS: Final = ("Rss", "Pss", "Private_Clean", "Private_Dirty", "Shared_Clean")


def measure(
    sizes: Sequence[Size] = SIZES,
    out: Path | None = None,
    *,
    repeats: int = 3,
    requests: int = 2000,
    seed: int = 0,
) -> list[Row]:
    """One row per size (users, items). Releases are written into `out`, where finished ones are kept.

    repeats   fresh processes that load it
    requests  timed for the latency, with items drawn uniformly and by Zipf's law
    Raises LoadTestError where a worker ends early.
    """
    with contextlib.ExitStack() as stack:
        place = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="userip-releases-")))
        releases = {
            (users, items): build_variants(
                None, place / f"{users}-{items}", ("userip",), seed, users=users, items=items
            )["userip"].release
            for users, items in track(sizes, label="writing releases")
        }
        loads: dict[Size, list[Row]] = {size: [] for size in sizes}
        for _ in track(range(repeats), label="loading"):
            for size in sizes:
                loads[size].append(_workers(releases[size], 1)[0])
        rows = [_row(size, path, loads[size], _workers(path, 2)) for size, path in releases.items()]
        times = _latency(releases, requests, seed)
    return [row | times[size] for row, size in zip(rows, sizes, strict=True)]


def _row(size: Size, path: Path, alone: Sequence[Row], pair: Sequence[Row]) -> Row:
    def median(key: str) -> float:
        return float(np.median([one[key] for one in alone]))

    return {
        "scenario": "release-scale",
        "users": size[0],
        "items": size[1],
        "files_mb": sum(file.stat().st_size for file in path.iterdir()) / 2**20,
        "load_s": median("load_s"),
        "load_s_spread": [min(one["load_s"] for one in alone), max(one["load_s"] for one in alone)],
        "hash_s": median("hash_s"),
        "imports_mb": median("imports_mb"),
        "loaded_mb": median("loaded_mb"),
        "rss_mb_1": median("Rss"),
        "pss_mb_1": median("Pss"),
        "rss_mb_2": sum(one["Rss"] for one in pair),
        "pss_mb_2": sum(one["Pss"] for one in pair),
    }


def _workers(release: Path, count: int) -> list[Row]:
    """What `count` workers tell of themselves, with their memory while all of them are there."""
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(tempfile.TemporaryDirectory(prefix="userip-"))
        processes = [stack.enter_context(_worker(release, shared)) for _ in range(count)]
        reports = []
        for process in processes:
            assert process.stdout is not None
            if not (line := process.stdout.readline()):
                raise LoadTestError(f"{release}: a worker did not load it; exit code {process.wait()}")
            reports.append(json.loads(line))
        return [one | memory_mb(process.pid) for one, process in zip(reports, processes, strict=True)]


@contextlib.contextmanager
def _worker(release: Path, shared: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "userip.loadtests.scale.release_worker", str(release), shared]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def memory_mb(pid: int) -> dict[str, float]:
    """Rss, Pss (what is shared counts by its part), private and shared MiB of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    return {name: kib[name] / 1024 for name in _SUMS}


def _latency(releases: Mapping[Size, Path], requests: int, seed: int) -> dict[Size, Row]:
    """Microseconds from ids, fresh as a decoder makes them, to scores; a request of each release in turn."""
    decode = msgspec.json.Decoder(ScoreRequest).decode
    rng = np.random.default_rng(seed)
    found: dict[Size, Row] = {size: {"candidates": CANDIDATES} for size in releases}
    loaded = {size: load_release(path) for size, path in releases.items()}
    items = {size: population_of_release(path, seed).items for size, path in releases.items()}
    for drawn, exponent in (("uniform", 0.0), ("zipf", 1.0)):
        laws = {size: cumulative(size[1], exponent) for size in releases}
        times: dict[Size, list[float]] = {size: [] for size in releases}
        for _ in track(range(requests), label=f"scoring, items {drawn}"):
            for size, release in loaded.items():
                chosen = [items[size][place] for place in distinct(laws[size], CANDIDATES, rng)]
                user = int(rng.integers(1, size[0]))
                request = decode(json.dumps({"user_id": "u", "item_ids": chosen}))
                started = time.perf_counter()
                _score(release, request, user)
                times[size].append(time.perf_counter() - started)
        for size, values in times.items():
            kept = np.array(values[len(values) // 10 :]) * 1e6  # the first ones map pages of the tables
            p50, p99 = (value for _, value in quantiles_of(kept, (0.5, 0.99)))
            found[size] |= {f"p50_us_{drawn}": p50, f"p99_us_{drawn}": p99}
    return found


def _score(release: Release, request: ScoreRequest, user: int) -> None:
    known = release.item_rows
    rows = np.fromiter([known.get(item, 0) for item in request.item_ids], np.int64, len(request.item_ids))
    release.scorer.run([Task(rows, user, [1] * len(release.scorer.shape.slots), ())])
