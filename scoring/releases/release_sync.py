"""Keeping a worker on the release that it should serve.

An operator's reload holds for all workers of the service, until the bank's pointer moves
(`scoring.releases.release_override`). Otherwise a service that follows its bank serves the active release: every
worker polls the pointer by itself, so all of them reach the same release, even one that was restarted in between or
could not load it at first. One that does not follow polls it too, to say that another release is active.

A release that cannot be loaded is tried again at growing intervals; the one before is served meanwhile.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from userip.bank.errors import BankError
from userip.bank.protocol import AsyncReader
from userip.disk import DiskFullError
from userip.release.errors import AbsentReleaseError, ReleaseError
from userip.scoring.background import keep_doing
from userip.scoring.errors import ReloadError, ScoringError
from userip.scoring.releases.current_release import CurrentRelease
from userip.scoring.releases.loaded_release import Release
from userip.scoring.releases.release_override import Override, ReleaseOverride

_LONGEST_WAIT_S = 60.0
_EXPECTED = (ReleaseError, ScoringError, BankError, DiskFullError, OSError)  # these say all in their message


class ReleaseMetrics(Protocol):
    """Where it is counted which release is served."""

    def serving(self, release: str, loaded: float, created: str) -> None:
        """`release` is served from now on: loaded at that time, in unix seconds, and exported then, in ISO 8601."""

    def reloaded(self, *, ok: bool) -> None:
        """A reload ended."""

    def outdated(self, outdated: bool) -> None:
        """Whether a worker serves another release than the wanted one."""


@dataclass(slots=True)
class _Attempt:
    """A load that is tried again until it works or is no longer wanted."""

    target: tuple[str, int]
    wait_s: float
    at: float = 0.0  # time.monotonic() of the next one


class ReleaseSync:
    """Keeps this worker at the wanted release."""

    def __init__(
        self,
        current: CurrentRelease,
        reader: AsyncReader,
        metrics: ReleaseMetrics,
        log: FilteringBoundLogger,
        override: ReleaseOverride,
        *,
        follows: bool,
        every_s: float,
    ) -> None:
        """Poll `override` and the bank's active release every `every_s` seconds; with `follows`, serve the latter."""
        self._current = current
        self._reader = reader
        self._metrics = metrics
        self._log = log
        self._override = override
        self._follows = follows
        self._every_s = every_s
        self._pointer: str | None = None
        self._done = 0 if (order := override.get()) is None else order.number  # what was loaded just now is as ordered
        self._attempt: _Attempt | None = None
        self._said: tuple[str | None, str] | None = None

    async def reload(self, release: str | None = None) -> tuple[str, str]:
        """Serve `release`, or what `release_dir` holds now, and have the other workers do the same.

        Returns the names of the release now and before. Raises ReloadError; then nothing has changed, here or
        elsewhere.
        """
        before = self._current.release.name
        await self._ask_bank()
        name = (await self._load(release)).name
        self._done = self._override.set(name, self._pointer).number
        self._settle(name)
        return name, before

    async def follow(self) -> None:
        """Look again and again; runs until cancelled."""
        await keep_doing(self.look, self._log, "could not find out which release to serve", self._every_s)

    async def look(self) -> None:
        """See which release is wanted, and load it if another one is served."""
        order = await self._order()
        followed = self._pointer if self._follows else None
        wanted, number = (order.release, order.number) if order is not None else (followed, 0)
        if wanted is None or (wanted == self._current.release.name and number in (0, self._done)):
            self._settle(wanted)
            return
        self._want(wanted)
        if self._attempt is None or self._attempt.target != (wanted, number):
            self._attempt = _Attempt((wanted, number), self._every_s)
        if time.monotonic() >= self._attempt.at:
            await self._try(self._attempt)

    async def _order(self) -> Override | None:
        order = self._override.get()  # before the bank is asked: so its pointer is no older than the order's
        if await self._ask_bank() and self._follows and order is not None and order.pointer != self._pointer:
            self._override.clear(order)
            return self._override.get()  # one that another worker was given meanwhile
        return order

    async def _ask_bank(self) -> bool:
        """Read the bank's pointer; whether there was one. A bank that lost everything changes nothing."""
        with suppress(BankError):
            if (active := await self._reader.active()) is not None:
                self._pointer = active
                return True
        return False

    async def _try(self, attempt: _Attempt) -> None:
        name, number = attempt.target
        try:
            await self._load(name)
        except ReloadError as error:
            attempt.at = time.monotonic() + attempt.wait_s
            # To look for a directory costs little; to load one does not.
            if not isinstance(error.__cause__, AbsentReleaseError):
                attempt.wait_s = min(2 * attempt.wait_s, _LONGEST_WAIT_S)
        else:
            self._done = number or self._done
            self._settle(name)

    async def _load(self, name: str | None) -> Release:
        """Load, count and log the result; a cause that repeats is logged once. Raises ReloadError."""
        before = self._current.release.name
        try:
            release = await self._current.reload(name)
        except ReloadError as error:
            again = (name, str(error)) == self._said
            if not again:
                self._said = (name, str(error))
                fault = None if isinstance(error.__cause__, _EXPECTED) else error.__cause__
                self._log.error("reload failed", release=name, served=before, problem=str(error), exc_info=fault)
            if not (again and isinstance(error.__cause__, AbsentReleaseError)):
                self._metrics.reloaded(ok=False)
            raise
        self._said = None
        self._metrics.reloaded(ok=True)
        self._metrics.serving(release.name, release.loaded_at, release.manifest.created)
        self._log.info("reloaded", release=release.name, before=before, golden_requests=release.golden)
        return release

    def _settle(self, wanted: str | None) -> None:
        """What was to be loaded is served; without following, the bank may want another release all the same."""
        self._attempt = None
        served, active = self._current.release.name, self._pointer
        if not self._follows and active not in (None, served):
            if self._current.wanted != active:
                self._log.warning("another release is active; reload to serve it", served=served, active=active)
            wanted = active
        self._want(wanted)

    def _want(self, release: str | None) -> None:
        self._current.wanted = release
        self._metrics.outdated(self._current.outdated)
