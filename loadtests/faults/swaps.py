"""Hot swaps under load (`make chaos ONLY=swaps`). Linux: memory and mappings are read from /proc.

Two good releases become active in turns while requests arrive at a fixed rate; every tenth swap is to a broken
release: an altered file, a truncated graph, tables of another shape, a golden request answered otherwise, or one that
the bank does not hold. Every answer is held against torch's scores of the release that it names.
"""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
from userip.loadtests.faults.swap_load import Watcher
from userip.loadtests.gates import Gate
from userip.loadtests.servers.cores import available_cores, share_out, status_mb
from userip.loadtests.servers.processes import Server, serve
from userip.loadtests.servers.redis_server import RedisServer
from userip.loadtests.traffic.figures import quantiles_of
from userip.loadtests.traffic.workload import Workload, make_workload, population_of_release
from userip.loadtests.variants import Variant, build_variants
from userip.ops.publish import publish_release
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
        watcher = Watcher(server.port, workload, right)
        stack.callback(watcher.close)
        loading = threading.Thread(target=watcher.at_rate, args=(rate,), daemon=True)
        loading.start()
        try:
            time.sleep(_QUIET_S)
            quiet = len(watcher.latencies)
            seen = _swap(server, bank, names, broken, swaps)
        finally:
            watcher.done.set()
            loading.join(_PATIENCE_S)
        if watcher.failed_with is not None or loading.is_alive():
            raise LoadTestError(f"the load ended early: {watcher.failed_with or 'no answer'}")
        mapped = _foreign_tables(server.pid, str(_get(server, "/release").get("release")))
    return _gates(watcher, seen, quiet, swaps, mapped)


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


def _gates(watcher: Watcher, seen: Seen, quiet: int, swaps: int, mapped: int) -> list[Gate]:
    failed, asked = sum(watcher.failures.values()), len(watcher.latencies)
    grown = growth(seen.resident)
    latencies = np.asarray(watcher.latencies) * 1000
    before, under = (quantiles_of(part, (0.5, 0.99, 1.0)) for part in (latencies[:quiet], latencies[quiet:]))
    told = "; ".join(
        f"{when} p50 {at[0][1]:.2f} ms, p99 {at[1][1]:.2f}, most {at[2][1]:.1f}"
        for when, at in (("without swaps", before), ("with", under))
    )
    why = ", ".join(f"{count} x {kind}" for kind, count in watcher.failures.items()) or f"{asked:,} answered"
    return [
        Gate(f"failed requests in {swaps} swaps", failed, "0", not failed, why),
        Gate("answers that are not those of the release they name", watcher.wrong, "0", not watcher.wrong, told),
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


# On a machine that does other work as well an answer is to be late, not refused or given by default.
_PATIENCE: Final = ("deadline_ms=10000", "queue_delay_target_ms=10000", "bank_deadline_ms=5000")


def _serve(directory: Path, releases: Path, release: Path, bank: str) -> Server:
    settings = (f"releases_dir={releases}", "follow_seconds=0.02", f"admin_key={KEY}", "cache_records=100")
    cores = share_out(available_cores(), 1).service
    return serve("swaps", release, bank, directory / "service.log", cores, *settings, *_PATIENCE)


def _refused(about: Mapping[str, Any], name: str) -> bool:
    last = about["last_reload"]
    return last is not None and last["release"] == name and not last["ok"]


def _get(server: Server, path: str) -> dict[str, Any]:
    return dict(orjson.loads(server.ask("GET", path, key=KEY)[1]))


def _reload(server: Server, name: str) -> int:
    return server.ask("POST", "/admin/reload", orjson.dumps({"release": name}), KEY)[0]


def _until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _foreign_tables(pid: int, release: str) -> int:
    """Mappings of .npy files of other releases, once those on their way out had time to go; 1 for none of its own."""
    for _ in range(50):
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        tables = [Path(line.split(maxsplit=5)[5].removesuffix(" (deleted)")) for line in lines if ".npy" in line]
        foreign = [path for path in tables if path.parent.name != release]
        if not foreign and len(tables) == len(set(tables)) > 0:
            return 0
        time.sleep(0.1)
    return max(len(foreign) + len(tables) - len(set(tables)), 1)
