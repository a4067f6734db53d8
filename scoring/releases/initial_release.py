"""Which release a worker starts with."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from userip.bank.errors import BankError
from userip.bank.opening import open_reader
from userip.release.directories import find_release
from userip.release.errors import AbsentReleaseError, ReleaseError
from userip.scoring.errors import ScoringError
from userip.scoring.releases.current_release import load_and_warm_up
from userip.scoring.releases.loaded_release import Release
from userip.scoring.settings import ReleaseSettings

_PATIENCE_S = 2.0  # unlike on the request path, here a slow answer is better than none


def first_directory(settings: ReleaseSettings, log: FilteringBoundLogger) -> Path:
    """The directory of the bank's active release where the service follows it and has it, else `release_dir`."""
    if settings.follows and (active := _active(settings)) is not None:
        try:
            return find_release(active, settings.release_dir, settings.releases_dir)
        except AbsentReleaseError as error:
            log.warning("active release is not here; release_dir is served", active=active, problem=str(error))
    return settings.release_dir


def load_first(settings: ReleaseSettings, log: FilteringBoundLogger) -> Release:
    """Load that release; `release_dir` if it cannot be loaded. Raises ReleaseError, ScoringError or OSError."""
    directory = first_directory(settings, log)
    try:
        release = load_and_warm_up(directory, settings.largest, settings.shared)
    except (ReleaseError, ScoringError, OSError) as error:
        if directory == settings.release_dir:
            raise
        log.error("active release cannot be loaded; release_dir is served", problem=str(error))
        release = load_and_warm_up(settings.release_dir, settings.largest, settings.shared)
    if not release.golden:
        log.warning("release has no golden requests to check it by; export it again", release=release.name)
    return release


def _active(settings: ReleaseSettings) -> str | None:
    async def ask() -> str | None:
        reader = open_reader(settings.bank_url, deadline_s=_PATIENCE_S, max_connections=1)
        try:
            return await reader.active()
        except BankError:
            return None
        finally:
            await reader.close()

    with ThreadPoolExecutor(1) as thread:  # workers are made in a running event loop, where `run` is refused
        return thread.submit(asyncio.run, ask()).result()
