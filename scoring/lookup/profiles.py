"""Profile lookup: cache, bank, replica; within a deadline, never raising, and saying what was found.

In turn: the process's own cache, the bank (unless the breaker is open), what the cache still has from before, the
replica on this machine if there is one, the default profile.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from structlog.typing import FilteringBoundLogger

from userip.bank.errors import BankError, BankRefusedError, BankUnavailableError, RecordError, UnknownReleaseError
from userip.bank.opening import open_reader
from userip.bank.protocol import AsyncReader, Lookup
from userip.bank.record import UNKNOWN_CODE, Record
from userip.scoring.lookup.breaker import Breaker
from userip.scoring.lookup.coalescing import CoalescingReader
from userip.scoring.lookup.record_cache import RecordCache
from userip.scoring.request_stats import RequestStats
from userip.scoring.scorer import Shape
from userip.scoring.settings import LookupSettings

# known: the bank holds this user; default: it does not; unavailable: it could not say.
Outcome = Literal["known", "default", "unavailable"]
# unavailable: no answer in time; refused: the login may not; no_release: the bank lacks it; error: anything else;
# breaker: not asked.
# A request whose lookup went on as a probe has the last failure of the bank.
Failure = Literal["unavailable", "refused", "no_release", "error", "breaker"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of one user; `record` is there when the outcome is known."""

    outcome: Outcome
    record: Record | None = None


T = TypeVar("T")
Pending = list[T] | Coroutine[Any, Any, list[T]]  # there, or to be awaited

DEFAULT = Profile("default")
CORRUPT = Profile("default")  # told from the other by identity
UNAVAILABLE = Profile("unavailable")
_TELL_EVERY_S = 60.0


class Profiles:
    """The bank as scoring sees it; `replica` is asked when bank and cache have nothing."""

    def __init__(
        self,
        reader: AsyncReader,
        log: FilteringBoundLogger,
        cache: RecordCache[Profile],
        breaker: Breaker,
        replica: AsyncReader | None = None,
    ) -> None:
        self.reader = reader
        self._replica = replica
        self._lookups = CoalescingReader(self._get_many)
        self._log = log
        self._cache = cache
        self._breaker = breaker
        self._failing: Failure | None = None
        self._told: tuple[str, str, int] | None = None
        self._dropped = 0.0  # what was asked for before is not to be cached
        self._damage_told = -_TELL_EVERY_S
        self._probes: set[asyncio.Task[None]] = set()

    async def forget(self, release: str) -> None:
        """Drop all cached profiles if the bank has forgotten somebody since the last call, or keeps `release` anew.

        All of them: the bank does not say who it was.
        """
        with suppress(BankError):
            meta = await self.reader.meta(release)
            if meta is not None and (told := (release, meta.staging, meta.forgotten)) != self._told:
                self._told, self._dropped = told, time.monotonic()
                self._cache.clear()

    async def read(
        self, release: str, shape: Shape, user_ids: Sequence[str], stats: RequestStats, *, cached: bool = True
    ) -> list[Profile]:
        """Look all users up in at most one round trip, and note in `stats` what happened on the way.

        Never raises for a bank that is away: the outcome says so. Without `cached` the bank is asked even for users of
        whom the cache has a fresh profile.
        """
        found = self.begin(release, shape, user_ids, stats, cached=cached)
        return found if isinstance(found, list) else await found

    def begin(
        self, release: str, shape: Shape, user_ids: Sequence[str], stats: RequestStats, *, cached: bool = True
    ) -> Pending[Profile]:
        """What `read` gives, at once where the cache has all of them."""
        now = time.monotonic()
        get = self._cache.get
        found = [get(release, user_id, now) if cached else None for user_id in user_ids]
        if None not in found:
            stats.cache_hits = len(found)
            return found  # type: ignore[return-value]  # just seen
        return self._read(release, shape, user_ids, found, now, stats)

    async def _read(
        self,
        release: str,
        shape: Shape,
        user_ids: Sequence[str],
        found: Sequence[Profile | None],
        now: float,
        stats: RequestStats,
    ) -> list[Profile]:
        missing = [user_id for user_id, profile in zip(user_ids, found, strict=True) if profile is None]
        stats.cache_hits, stats.cache_misses = len(user_ids) - len(missing), len(missing)
        fresh = await self._from_bank(release, shape, missing, now, stats)
        return [
            fresh[user_id] if profile is None else profile for user_id, profile in zip(user_ids, found, strict=True)
        ]

    async def _from_bank(
        self, release: str, shape: Shape, user_ids: Sequence[str], now: float, stats: RequestStats
    ) -> dict[str, Profile]:
        if self._breaker.is_open:
            # No request waits for a bank that fails: now and then one lookup probes it in the background.
            if self._breaker.allows(now):
                probe = asyncio.create_task(self._probe(release, user_ids))
                self._probes.add(probe)
                probe.add_done_callback(self._probes.discard)
                stats.bank_failure = self._failing or ""
            else:
                stats.bank_failure = "breaker"
            return await self._without_bank(release, shape, user_ids, stats)
        try:
            found = await self._lookups.find(release, user_ids)  # bounded by the reader's deadline
        except BankError as error:
            stats.bank_failure = _kind(error)
        done = time.monotonic()
        stats.stages["lookup"] = done - now
        if stats.bank_failure:
            return await self._without_bank(release, shape, user_ids, stats)
        profiles = {}
        for user_id in user_ids:
            profile = profiles[user_id] = _judge(found[user_id], shape)
            if profile is CORRUPT:
                stats.corrupt_records += 1
            elif profile.record is not None and now > self._dropped:  # an unknown user is not: a fold-in shows at once
                self._cache.put(release, user_id, profile, done)
        if stats.corrupt_records and done >= self._damage_told + _TELL_EVERY_S:
            self._damage_told = done
            self._log.error("records in the bank are damaged; default profiles are served", release=release)
        return profiles

    async def _without_bank(
        self, release: str, shape: Shape, user_ids: Sequence[str], stats: RequestStats
    ) -> dict[str, Profile]:
        profiles = dict.fromkeys(user_ids, UNAVAILABLE)
        for user_id in profiles:
            if (stale := self._cache.stale(release, user_id)) is not None:
                profiles[user_id] = stale
                stats.cache_stale += 1
        if self._replica is not None and stats.cache_stale < len(profiles):
            missing = [user_id for user_id, profile in profiles.items() if profile is UNAVAILABLE]
            with suppress(BankError):  # no copy of this release yet
                found = await self._replica.get_many(release, missing)
                profiles.update(
                    (user_id, _judge(record, shape)) for user_id, record in zip(missing, found, strict=True)
                )
                stats.replica_lookups = len(missing)
                stats.corrupt_records += sum(profiles[user_id] is CORRUPT for user_id in missing)
        return profiles

    async def _get_many(self, release: str, user_ids: Sequence[str]) -> list[Lookup]:
        """One round trip, which the breaker counts once, however many requests it is for."""
        try:
            records = await self.reader.get_many(release, user_ids)
        except BankError as error:
            self._note(_kind(error), time.monotonic(), str(error))
            raise
        self._note(None, time.monotonic())
        return records

    async def _probe(self, release: str, user_ids: Sequence[str]) -> None:
        with suppress(BankError):  # `_get_many` has told the breaker
            await self._lookups.find(release, user_ids)

    def _note(self, failure: Failure | None, now: float, problem: str = "") -> None:
        """Tell the breaker; log when the bank goes away and when it comes back, not on every request between."""
        if failure is None:
            self._breaker.succeeded()
        else:
            self._breaker.failed(now)
        if failure != self._failing:
            if failure is None:
                self._log.info("bank is back")
            else:
                self._log.warning("bank reads fail; default profiles are served", failure=failure, problem=problem)
            self._failing = failure


def reader_of(settings: LookupSettings) -> AsyncReader:
    """Open the bank as it is set. Raises BankUrlError."""
    return open_reader(settings.bank_url, deadline_s=settings.deadline_s, max_connections=settings.connections)


def make_profiles(
    reader: AsyncReader, settings: LookupSettings, log: FilteringBoundLogger, replica: AsyncReader | None = None
) -> Profiles:
    """Put a cache and a breaker before `reader`, as they are set."""
    cache: RecordCache[Profile] = RecordCache(settings.cache_records, settings.cache_ttl_s)
    return Profiles(reader, log, cache, Breaker(settings.breaker_failures, settings.breaker_retry_s), replica)


def _kind(error: BankError) -> Failure:
    if isinstance(error, BankRefusedError):
        return "refused"
    if isinstance(error, BankUnavailableError):
        return "unavailable"
    return "no_release" if isinstance(error, UnknownReleaseError) else "error"


def _judge(record: Lookup, shape: Shape) -> Profile:
    if isinstance(record, RecordError) or (record is not None and not _possible(record, shape)):
        return CORRUPT
    return DEFAULT if record is None else Profile("known", record)


def _possible(record: Record, shape: Shape) -> bool:
    """Whether every number of the record is a row that the graph has. Values of the bank are not trusted."""
    if record.row >= (shape.user or record.row + 1) or len(record.codes) != len(shape.slots):
        return False
    if len(record.vector) != 4 * shape.vector:
        return False
    return all(code == UNKNOWN_CODE or code + 1 < size for code, size in zip(record.codes, shape.slots, strict=True))
