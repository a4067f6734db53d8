"""Hot swaps under load (`make chaos ONLY=swaps`). Linux: memory and mappings are read from /proc.

Two good releases become active in turns while requests arrive at a fixed rate; every tenth swap is to a broken
release: an altered file, a truncated graph, tables of another shape, a golden request answered otherwise, or one that
the bank does not hold. Every answer is held against torch's scores of the release that it names.
"""

import contextlib
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import orjson

from userip.bank.opening import open_bank
from userip.bank.protocol import Bank
from userip.loadtests.errors import LoadTestError
from userip.loadtests.faults.broken_releases import BROKEN, write_broken
from userip.loadtests.faults.rig import Answered, Traffic, p99_ms, shares
from userip.loadtests.gates import Gate
from userip.loadtests.servers.cores import available_cores, share_out, status_mb
from userip.loadtests.servers.processes import serve
from userip.loadtests.servers.redis_server import RedisServer
from userip.loadtests.traffic.answers import TOLERANCE
from userip.loadtests.traffic.workload import Workload, make_workload, population_of_release
from userip.loadtests.variants import Variant, build_variants
from userip.ops.publish import publish_release
from userip.processes import Server
from userip.release.manifest import read_manifest
from userip.training.progress import track

KEY: Final = "swaps"
_POOL: Final = 64  # different requests, all verified
_QUIET_S: Final = 3.0
_PATIENCE_S: Final = 60.0


@dataclass
class Seen:
    """What came of the swaps: resident memory in MiB after each, seconds that each took, and what went wrong."""

    resident: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    refused: int = 0


@dataclass
class Load:
    """What came of the requests: their answers, and how many were never sent."""

    answers: list[Answered] = field(default_factory=list)
    unsent: int = 0


def swap_under_load(
    directory: Path, swaps: int, *, rate: float = 200, items: int = 2_000, candidates: int = 50
) -> list[Gate]:
    """Do `swaps` of them with everything written into `directory`; give the gates. Raises LoadTestError."""
    releases = directory / "releases"
    good = [
        build_variants(None, directory / f"seed{seed}", ["userip"], seed, users=500, items=items)["userip"]
        for seed in (0, 1)
    ]
    releases.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        bank = stack.enter_context(contextlib.closing(open_bank(redis.url)))
        names = [publish_release(variant.release, bank).release for variant in reversed(good)][::-1]
        for variant, name in zip(good, names, strict=True):
            shutil.copytree(variant.release, releases / name)
        broken = {kind: write_broken(kind, good[0].release, releases, bank) for kind in BROKEN}
        server = _serve(directory, releases, releases / names[0], redis.url)
        stack.callback(server.stop)
        pool = make_workload(population_of_release(good[0].release), "/score", candidates)
        workload = Workload(pool.route, pool.asks[:_POOL])
        right = {name: _scores(variant, workload) for name, variant in zip(names, good, strict=True)}
        traffic = Traffic(server.port, workload, 16, partial(_is_right, right))
        stack.callback(traffic.close)
        done = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            loading = thread.submit(_load, traffic, rate, done)
            try:
                time.sleep(_QUIET_S)
                begun = time.perf_counter()
                seen = _swap(server, bank, names, broken, swaps)
            finally:
                done.set()
        try:
            load = loading.result()
        except OSError as error:
            raise LoadTestError(f"the load ended early: {error}") from None
        mapped = _foreign_tables(server.pid, releases / str(_get(server, "/release").get("release")))
    return [*_answer_gates(load, traffic.wrong, begun, swaps), *_gates(seen, mapped)]


def _load(traffic: Traffic, rate: float, done: threading.Event) -> Load:
    """Requests at a rate until `done`, some seconds of them at a time."""
    load = Load()
    while not done.is_set():
        load.answers += traffic.at_rate(rate, _QUIET_S)
        load.unsent += traffic.failures["not sent"]
    return load


def _is_right(right: Mapping[str, Sequence[Any]], index: int, body: bytes) -> bool:
    """Whether the scores are those of the release that the answer names."""
    answer = orjson.loads(body)
    return bool(np.abs(np.asarray(answer["scores"]) - right[answer["release"]][index]).max() <= TOLERANCE)


def _swap(server: Server, bank: Bank, names: Sequence[str], broken: Mapping[str, str], swaps: int) -> Seen:
    seen, kinds, served = Seen(), cycle(BROKEN), 0
    for number in track(range(swaps), label="swaps"):
        kind = next(kinds) if number % 10 == 9 else None
        started = time.perf_counter()
        if kind is None:
            served = 1 - served
            bank.activate(names[served])
            came = _until(lambda: _get(server, "/release").get("release") == names[served])  # noqa: B023  (called at once)
        elif kind == "unpublished":
            came = _reload(server, broken[kind]) == 409
        else:
            bank.activate(broken[kind])
            came = _until(lambda: _refused(_get(server, "/release"), broken[kind]))  # noqa: B023
        seen.refused += kind is not None and came
        if not came or _get(server, "/release").get("release") != names[served]:
            seen.missed.append(f"{number} {kind or 'good'}")
        seen.seconds.append(time.perf_counter() - started)
        seen.resident.append(status_mb("VmRSS", server.pid))
    return seen


def _answer_gates(load: Load, wrong: int, begun: float, swaps: int) -> list[Gate]:
    failed = load.unsent + sum(answer.status != 200 for answer in load.answers)
    wrong += sum(answer.status == 200 and answer.profile != "known" for answer in load.answers)
    parts = {
        "without swaps": [answer for answer in load.answers if answer.due < begun],
        "with": [answer for answer in load.answers if answer.due >= begun],
    }
    latencies = "; ".join(
        f"{when} p99 {p99_ms(part):.2f} ms, most {1000 * max((one.latency for one in part), default=0):.1f}"
        for when, part in parts.items()
    )
    return [
        Gate(f"failed requests in {swaps} swaps", failed, "0", not failed, shares(load.answers)),
        Gate("answers that are not those of the release they name", wrong, "0", not wrong, latencies),
    ]


def _gates(seen: Seen, mapped: int) -> list[Gate]:
    grown = growth(seen.resident)
    return [
        Gate(
            "swaps that ended elsewhere than they should",
            len(seen.missed),
            "0",
            not seen.missed,
            ", ".join(seen.missed) or f"{seen.refused} broken ones refused; median {median(seen.seconds):.2f} s a swap",
        ),
        Gate(
            "growth of resident memory",
            grown,
            "< 0.05",
            grown < 0.05,
            f"{seen.resident[0]:.1f} MiB after the first swap, {seen.resident[-1]:.1f} after the last; "
            "the growth is from the second tenth to the last",
        ),
        Gate("mapped tables of replaced releases", mapped, "0", not mapped, "in /proc/PID/maps after the last swap"),
    ]


def growth(resident: Sequence[float]) -> float:
    """From the second tenth, when all code has run once, to the last: medians, as a share."""
    tenth = max(len(resident) // 10, 1)
    return median(resident[-tenth:]) / median(resident[tenth : 2 * tenth]) - 1


def _scores(variant: Variant, workload: Workload) -> list[Any]:
    return [variant.oracle.scores(ask.user_id, ask.item_ids) for (ask,) in workload.asks]


def _serve(directory: Path, releases: Path, release: Path, bank: str) -> Server:
    settings = (f"releases_dir={releases}", "follow_seconds=0.02", f"admin_key={KEY}", "cache_records=100")
    cores = share_out(available_cores(), 1).service
    return serve("swaps", release, bank, directory / "service.log", cores, *settings)


def _refused(about: Mapping[str, Any], name: str) -> bool:
    last = about["last_reload"]
    return last is not None and last["release"] == name and not last["ok"]


def _get(server: Server, path: str) -> dict[str, Any]:
    return server.ask("GET", path, key=KEY).json


def _reload(server: Server, name: str) -> int:
    return server.ask("POST", "/admin/reload", orjson.dumps({"release": name}), KEY).status


def _until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _foreign_tables(pid: int, release: Path) -> int:
    """Mapped tables that are not those of `release`, once those on their way out had time to go; and of it, missing."""
    manifest = read_manifest(release, verify="nothing")
    own = Counter(manifest.files[file] for file in manifest.tables.values())

    def wrong() -> int:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        paths = (Path(line.split(maxsplit=5)[5].removesuffix(" (deleted)")) for line in lines if ".copy" in line)
        mapped = Counter(path.stem for path in paths)  # a copy is named by its hash (`release.private_copy`)
        return ((mapped - own) + (own - mapped)).total()

    _until(lambda: wrong() == 0)
    return wrong()
