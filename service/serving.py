"""The release that is served now, and its replacement by another one."""

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from bank.errors import BankError, ReleaseError
from bank.protocol import AsyncReader
from service.errors import ReloadError, ScoringError
from service.golden import check_golden
from service.release import Release, load_release


@dataclass(frozen=True, slots=True)
class Reload:
    """How the last reload ended."""

    ok: bool
    at: float  # unix seconds
    release: str | None
    problem: str | None = None


class Serving:
    """Holds the current release. `current` is replaced in one assignment; who took it keeps what it took."""

    def __init__(self, directory: Path, release: Release, reader: AsyncReader, largest: int) -> None:
        self.directory = directory
        self.current = release
        self.last_reload: Reload | None = None
        self._reader = reader
        self._largest = largest
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> Release:
        """Load the directory beside the served release, warm it up, see that the bank has it, and swap.

        Raises ReloadError; the release before is then served on. Its message holds no path.
        """
        async with self._one_at_a_time:
            name: str | None = None
            try:
                release = await asyncio.to_thread(load_and_warm_up, self.directory, self._largest)
                name = release.name
                if not await self._reader.has_release(name):
                    raise ReloadError(f"the bank holds no records of release {name}: publish it first")
            except (ReleaseError, ScoringError, ReloadError, BankError, OSError) as error:
                problem = self._without_paths(error)
                self.last_reload = Reload(False, time.time(), name, problem)
                raise ReloadError(problem) from error
            self.current = release
            self.last_reload = Reload(True, time.time(), name)
            return release

    def _without_paths(self, error: Exception) -> str:
        if isinstance(error, BankError):
            return "the bank did not say whether it holds the release"
        if isinstance(error, OSError):
            return f"a file of the release cannot be read ({error.strerror})"
        return str(error).replace(f"{self.directory}/", "").replace(str(self.directory), "the release directory")


def load_and_warm_up(directory: Path, largest: int) -> Release:
    """Load a release, run it up to `largest` candidates, and ask it its golden requests.

    Raises ReleaseError, ScoringError or OSError.
    """
    release = load_release(directory)
    release.scorer.warm_up(largest)
    return replace(release, golden=check_golden(release, directory))


def note_unchecked(release: Release, log: FilteringBoundLogger) -> None:
    """Say so when nothing could be compared: a release of an earlier version is served all the same."""
    if not release.golden:
        log.warning("release has no golden requests to check it by; export it again", release=release.name)
