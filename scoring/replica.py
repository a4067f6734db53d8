"""Keeping a replica of the served release's records on this machine (see `bank.backends.lmdb.replica`).

One process keeps it: whoever holds the lock file of the directory; when that one ends, another takes over. All
workers read it. Copying takes a tenth of the time at most, a few buckets at once, so neither the bank nor the
requests of this worker feel it.
"""

import asyncio
import fcntl
import time
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Final, TypeVar

from structlog.typing import FilteringBoundLogger

from userip.bank.backends.lmdb.replica import Replica, is_copy
from userip.bank.errors import BankError
from userip.bank.opening import open_reader
from userip.bank.protocol import StoredRecord
from userip.scoring.background import keep_doing
from userip.scoring.errors import ReplicaError
from userip.scoring.releases.current_release import CurrentRelease

T = TypeVar("T")

_LOCK: Final = "keeper.lock"
_SHARE: Final = 0.1  # of the time may be spent on copying
_BUCKETS: Final = 4  # read at once: some hundred records, a few tenths of a millisecond
_RECORDS: Final = 5_000  # written at once
_LOOK_EVERY_S: Final = 1.0  # at which release is served, and whether somebody was forgotten
_DEADLINE_S: Final = 2.0  # patient, unlike the request path


class ReplicaKeeper:
    """Copies what the bank has of the served release into `directory` every `every_s` seconds; `reader` reads it.

    Raises ReplicaError for a directory that cannot be used, or a bank that is a directory itself.
    """

    def __init__(
        self, bank_url: str, directory: Path, every_s: float, current: CurrentRelease, log: FilteringBoundLogger
    ) -> None:
        source = open_reader(bank_url, deadline_s=_DEADLINE_S, max_connections=1)
        if not source.remote:
            raise ReplicaError("replica_dir: the bank is a local directory already; remove replica_dir")
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReplicaError(f"replica_dir {directory}: {error.strerror}; give a directory to write to") from None
        self._replica = Replica(directory)
        self.reader = self._replica.reader
        self._source = source
        self._directory = directory
        self._every_s = every_s
        self._current = current
        self._log = log
        self._lock: TextIOWrapper | None = None
        self._problem = ""
        self._updated: dict[str, float] = {}
        self._forgotten = 0  # `ReleaseMeta.forgotten` of what was copied

    def updated(self, release: str) -> float | None:
        """When the records in the replica last changed in the bank, unix seconds; None if this one cannot say."""
        return self._updated.get(release)

    async def run(self) -> None:
        """Copy whenever there is something new, until cancelled; then let go of the files."""
        try:
            await keep_doing(self._keep_up, self._log, "replica cannot be updated")
        finally:
            self._replica.close()
            await self.reader.close()
            if self._lock is not None:
                self._lock.close()
            await self._source.close()

    async def _keep_up(self) -> None:
        """Copy what is new, then wait until it is time again, or another release is served."""
        release = self._current.release.name
        if self._leads():
            await self._try(release)
        end = time.monotonic() + self._every_s
        while time.monotonic() < end and self._current.release.name == release:
            await asyncio.sleep(min(_LOOK_EVERY_S, self._every_s))
            if await self._forgot(release):
                break

    async def _forgot(self, release: str) -> bool:
        """Whether the bank forgot somebody of whom the replica that this one keeps may have a record."""
        if self._lock is None:
            return False
        with suppress(BankError):
            meta = await self._source.meta(release)
            return meta is not None and meta.forgotten != self._forgotten
        return False

    def _leads(self) -> bool:
        if self._lock is None:
            file = (self._directory / _LOCK).open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system gives it back however we end
            except BlockingIOError:
                file.close()
                return False
            self._lock = file
        return True

    async def _try(self, release: str) -> None:
        problem = ""
        try:
            await self._copy(release)
        except (BankError, OSError) as error:
            problem = str(error)
        if problem and problem != self._problem:
            self._log.warning("replica is not up to date", release=release, problem=problem)
        self._problem = problem

    async def _copy(self, release: str) -> None:
        """Bring the replica up to date. Raises BankError or OSError; then it is as it was, or partly newer."""
        meta = await self._source.meta(release)
        if meta is None:
            return
        if is_copy(await _in_thread(lambda: self._replica.held(release)), meta):
            self._updated, self._forgotten = {release: meta.updated_at}, meta.forgotten
            return
        started = time.perf_counter()
        copying = await _in_thread(lambda: self._replica.begin(release, meta))
        records: list[StoredRecord] = []
        users = changed = 0
        for first in range(0, meta.buckets, _BUCKETS):
            began = time.perf_counter()
            buckets = range(first, min(first + _BUCKETS, meta.buckets))
            records += await self._source.read_buckets(release, meta, buckets)
            if len(records) >= _RECORDS or buckets.stop == meta.buckets:
                some, records = records, []
                users += len(some)
                changed += await _in_thread(lambda some=some: copying.write(some))  # type: ignore[misc]
            await asyncio.sleep((time.perf_counter() - began) * (1 / _SHARE - 1))
        now = await self._source.meta(release)
        await _in_thread(lambda: copying.complete(now))
        self._updated, self._forgotten = {release: meta.updated_at}, meta.forgotten
        seconds = round(time.perf_counter() - started, 3)
        self._log.info("replica is up to date", release=release, users=users, changed=changed, seconds=seconds)


async def _in_thread(work: Callable[[], T]) -> T:
    """Run `work`; when cancelled, still wait for its end: the files must not be closed under it."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
