"""Metrics of several workers: each writes its counts to a file in a shared directory.

A file is written beside and renamed, so a reader sees all of it or what was there before. Counters of a worker that
is gone stay, since a counter never goes down; its gauges do not.
"""

import os
from pathlib import Path

import msgspec

Labels = tuple[str, ...]


class Counts(msgspec.Struct):
    """The values of one worker by metric and labels; of a histogram a count per bucket and the sum of the values."""

    counters: list[tuple[str, Labels, float]]
    gauges: list[tuple[str, Labels, float]]
    histograms: list[tuple[str, Labels, list[float]]]


class _File(Counts):
    pid: int
    born: str  # tells a process from a later one with its number


class MetricsFiles:
    """The directory as one worker sees it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pid = os.getpid()
        self._born = _born(self._pid)
        self._path = directory / f"metrics-{self._pid}-{self._born}.json"

    def write(self, counts: Counts) -> None:
        """Replace this worker's file."""
        file = _File(counts.counters, counts.gauges, counts.histograms, self._pid, self._born)
        beside = self._path.with_suffix(".writing")
        beside.write_bytes(msgspec.json.encode(file))
        os.replace(beside, self._path)

    def others(self) -> list[Counts]:
        """What the other workers wrote last, without the gauges of those that are gone, and files not to be read."""
        found: list[Counts] = []
        for path in sorted(self._directory.glob("metrics-*.json")):
            if path == self._path:
                continue
            try:
                file = msgspec.json.decode(path.read_bytes(), type=_File)
            except (OSError, msgspec.DecodeError, UnicodeDecodeError):
                continue  # removed since it was found, or written by something else
            if _born(file.pid) != file.born:
                file.gauges = []
            found.append(file)
        return found


def remove_old(directory: Path) -> None:
    """Forget what the workers of an earlier service in this directory counted."""
    for old in directory.glob("metrics-*.*"):
        old.unlink(missing_ok=True)


def _born(pid: int) -> str:
    """When a process started, in ticks since boot; empty when there is none, or the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
