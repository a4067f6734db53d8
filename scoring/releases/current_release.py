"""The release that is served now, and its replacement by another one."""

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path

from userip.bank.errors import BankError, BankKeyError
from userip.bank.protocol import AsyncReader
from userip.disk import DiskFullError
from userip.release.directories import find_release
from userip.release.errors import ReleaseError
from userip.release.items import free
from userip.release.private_copy import sweep
from userip.scoring.errors import ReloadError, ScoringError
from userip.scoring.messages import ReloadAnswer
from userip.scoring.releases.golden_check import check_golden
from userip.scoring.releases.loaded_release import Release, load_release

_PATIENCE = 600  # looks, a tenth of a second apart


class CurrentRelease:
    """Holds the current release. `release` is replaced in one assignment; who took it keeps what it took."""

    def __init__(
        self,
        directory: Path,
        release: Release,
        reader: AsyncReader,
        largest: int,
        releases_dir: Path | None = None,
        shared: Path | None = None,
    ) -> None:
        self.release = release
        self.last_reload: ReloadAnswer | None = None
        self.wanted: str | None = None  # active in the bank, or an operator's choice; None: unknown
        self._directory = directory
        self._releases_dir = releases_dir
        self._shared = shared  # what is loaded from now on
        self._reader = reader
        self._largest = largest
        self._one_at_a_time = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def outdated(self) -> bool:
        """Whether another release is wanted than the one that is served."""
        return self.wanted not in (None, self.release.name)

    async def reload(self, name: str | None = None) -> Release:
        """Load a release beside the served one, warm it up, have it checked, and swap.

        `name` finds it among the release directories; without, the configured one is read again.
        Raises ReloadError; the release before is then served on. Its message holds no path.
        """
        async with self._one_at_a_time:
            directory = self._directory
            try:
                if name is not None:
                    directory = await asyncio.to_thread(find_release, name, directory, self._releases_dir)
                release = await asyncio.to_thread(load_and_warm_up, directory, self._largest, self._shared)
                name = release.name
                await self._check_bank(release)
            except Exception as error:  # whatever is wrong with another release must not harm the one that is served
                problem = _without_paths(error, directory)
                self.last_reload = ReloadAnswer(False, time.time(), name, problem)
                if isinstance(error, ReloadError):
                    raise
                raise ReloadError(problem) from error
            self._retire(release)
            self.last_reload = ReloadAnswer(True, time.time(), name)
            return release

    def _retire(self, successor: Release) -> None:
        """Swap, and free the release before when the last request that took it is done."""
        before, self.release = [self.release], successor
        task = asyncio.create_task(_free_when_unused(before, self._shared))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _check_bank(self, release: Release) -> None:
        """See that the bank holds records that the graph can use. Raises ReloadError or BankError."""
        meta, manifest = await self._reader.meta(release.name), release.manifest
        if meta is None:
            raise ReloadError(f"the bank holds no records of release {release.name}: publish it first")
        meta.require_key()
        if (meta.slots, meta.vector) != (manifest.slots, manifest.vector):
            raise ReloadError(
                f"the bank's records of release {release.name} have {meta.slots} codes and {meta.vector} floats, "
                f"its graph takes {manifest.slots} and {manifest.vector}: publish the release of this directory"
            )


async def _free_when_unused(holder: list[Release], shared: Path | None) -> None:
    """Empty the table of ids once nobody but `holder` has the release; who keeps it for long keeps it whole."""
    for _ in range(_PATIENCE):
        await asyncio.sleep(0.1)
        if sys.getrefcount(holder[0]) == 2:  # the list's, and this call's own
            await asyncio.to_thread(free, holder.pop().item_rows)
            if shared is not None:
                await asyncio.to_thread(sweep, shared)
            return


def _without_paths(error: Exception, directory: Path) -> str:
    if isinstance(error, BankKeyError):
        return "the release hides its user ids by a key that this service does not have (USERIP_BANK_HMAC_KEY)"
    if isinstance(error, BankError):
        return "the bank did not say whether it holds the release"
    if isinstance(error, OSError):
        return f"a file of the release cannot be read ({error.strerror})"
    if isinstance(error, DiskFullError):
        return "there is no room for its tables on the disk; free some in runtime_dir"
    if not isinstance(error, (ReleaseError, ScoringError, ReloadError)):
        return f"loading it failed with {type(error).__name__}; the log has the rest"
    return str(error).replace(f"{directory}/", "").replace(str(directory), "the release directory")


def load_and_warm_up(directory: Path, largest: int, shared: Path | None = None) -> Release:
    """Load a release, run it up to `largest` candidates, and ask it its golden requests.

    Raises ReleaseError, ScoringError, DiskFullError or OSError.
    """
    release = load_release(directory, shared)
    release.scorer.warm_up(largest)
    return replace(release, golden=check_golden(release, directory))
