"""Which process runs on which core, what it used, and how exact its timers are. Linux; elsewhere nothing is pinned."""

import ctypes
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_PR_SET_TIMERSLACK: Final = 29


class Cores(NamedTuple):
    """Cores of the service, of the load generator and of Redis; `apart`: load and service share none."""

    service: tuple[int, ...]
    load: tuple[int, ...]
    redis: tuple[int, ...]
    apart: bool


def share_out(available: Iterable[int], workers: int) -> Cores:
    """Give the load the last core, the service one per worker from the first on, Redis one of its own if there is.

    With two cores Redis runs beside the load: the service's core is the one that is measured. Where there are too
    few cores for the workers, they share the load's.
    """
    cores = tuple(sorted(available))
    if len(cores) < workers + 1:
        return Cores(cores, cores[-1:], cores[-1:], apart=False)
    redis = cores[-2:-1] if len(cores) >= workers + 2 else cores[-1:]
    return Cores(cores[:workers], cores[-1:], redis, apart=True)


def available_cores() -> tuple[int, ...]:
    """The cores that this process may use; one, numbered 0, where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if sys.platform == "linux" else (0,)


def pin(pid: int, cores: Iterable[int]) -> None:
    """Keep a process, its threads and what it starts from now on to `cores`."""
    if sys.platform != "linux":
        return
    for process in family(pid):
        for thread in _listed(Path(f"/proc/{process}/task")):
            try:
                os.sched_setaffinity(int(thread), cores)
            except ProcessLookupError:
                continue


def family(pid: int) -> Iterator[int]:
    """The process and all that it has started."""
    yield pid
    for thread in _listed(Path(f"/proc/{pid}/task")):
        for child in _read(Path(f"/proc/{pid}/task/{thread}/children")).split():
            yield from family(int(child))


def cpu_seconds(pid: int) -> float:
    """Processor seconds that the family has used, in user and system mode."""
    ticks = 0
    for process in family(pid):
        # After the last ")": a program's name may hold anything.
        fields = _read(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory of the family in MiB; what several processes map counts for each."""
    pages = 0
    for process in family(pid):
        fields = _read(Path(f"/proc/{process}/statm")).split()
        pages += int(fields[1]) if fields else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def status_mb(name: str, pid: int | str = "self") -> float:
    """A line of /proc/PID/status (VmRSS, VmHWM, RssAnon) in MiB. Raises RuntimeError where there is none."""
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status says no {name}; this measurement needs Linux")


def fine_timers() -> None:
    """Let this process's sleeps end on time: Linux may end them 50 us late to save wake-ups."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def _listed(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:  # it has ended
        return []


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
