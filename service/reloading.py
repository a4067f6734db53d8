"""Reloads, and how the workers of one service follow each other.

The worker that is asked reloads, answers, and touches a file in `runtime_dir`; the others look at its time
twice a second and reload too. A worker whose own reload fails keeps what it has and says so
in log and metrics.
"""

import asyncio
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from service.errors import ReloadError
from service.metrics import Metrics
from service.serving import Serving

_SIGNAL = "reload-requested"
_LOOK_EVERY_S = 0.5


class Reloader:
    """Reloads this worker and, through the shared directory, the others."""

    def __init__(self, serving: Serving, metrics: Metrics, log: FilteringBoundLogger, shared: Path | None) -> None:
        self._serving = serving
        self._metrics = metrics
        self._log = log
        self._signal = None if shared is None else shared / _SIGNAL
        self._seen = self._signal_time()

    async def reload(self) -> tuple[str, str]:
        """Reload and tell the other workers. Return the names of the release now and before.

        Raises ReloadError; then nothing has changed, here or elsewhere.
        """
        names = await self._reload_here()
        if self._signal is not None:
            self._signal.touch()
            self._seen = self._signal_time()
        return names

    async def follow(self) -> None:
        """Reload whenever another worker has; runs until cancelled."""
        while self._signal is not None:
            await asyncio.sleep(_LOOK_EVERY_S)
            if (now := self._signal_time()) != self._seen:
                self._seen = now
                try:
                    await self._reload_here()
                except ReloadError:
                    continue  # noted where it happened; the operator's next reload tries again

    async def _reload_here(self) -> tuple[str, str]:
        before = self._serving.current.name
        try:
            release = await self._serving.reload()
        except ReloadError as error:
            self._metrics.reloaded(ok=False)
            self._log.error("reload failed", served=before, problem=str(error))
            raise
        self._metrics.reloaded(ok=True)
        self._metrics.serving(release.name, release.loaded_at, release.manifest.created)
        self._log.info("reloaded", release=release.name, before=before)
        return release.name, before

    def _signal_time(self) -> int:
        try:
            return self._signal.stat().st_mtime_ns if self._signal is not None else 0
        except FileNotFoundError:
            return 0
