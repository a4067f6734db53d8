"""Reading profiles when the bank fails: who waits for it, and what counts as a failure."""

import asyncio
import io
from collections.abc import Iterable, Sequence

import pytest

from userip.bank.errors import BankUnavailableError
from userip.bank.protocol import Lookup, StoredRecord
from userip.bank.record import Record
from userip.bank.release_meta import ReleaseMeta
from userip.scoring.lookup.breaker import Breaker
from userip.scoring.lookup.profiles import Profile, Profiles
from userip.scoring.lookup.record_cache import RecordCache
from userip.scoring.request_stats import RequestStats
from userip.scoring.scorer import Shape
from userip.service.observe.log import make_logger

SHAPE = Shape(items=3, user=10, slots=(), context=(), vector=0)


class Bank:
    """Answers when `gate` is open; with `away`, that it is away. Every user has row 1."""

    remote = False
    in_use = 0

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False
        self.asked = 0

    async def get_many(self, release: str, user_ids: Sequence[str]) -> list[Lookup]:
        """One round trip."""
        self.asked += 1
        await self.gate.wait()
        if self.away:
            raise BankUnavailableError("away")
        return [Record(1, ()) for _ in user_ids]

    async def active(self) -> str | None:
        """The one release."""
        return "r"

    async def meta(self, release: str) -> ReleaseMeta | None:
        """Nobody asks."""
        return None

    def updated(self, release: str) -> float | None:
        """Nobody knows."""
        return None

    def exists(self) -> bool:
        """It is there."""
        return True

    async def read_buckets(self, release: str, meta: ReleaseMeta, buckets: Iterable[int]) -> list[StoredRecord]:
        """Nobody copies it."""
        return []

    async def close(self) -> None:
        """Nothing is open."""


def profiles_of(bank: Bank, breaker: Breaker) -> Profiles:
    """Without a cache."""
    cache: RecordCache[Profile] = RecordCache(0, 1)
    return Profiles(bank, make_logger(stream=io.BytesIO()), cache, breaker)


async def outcome(profiles: Profiles) -> tuple[str, str]:
    """What one request gets, and why."""
    stats = RequestStats()
    (profile,) = await asyncio.wait_for(profiles.read("r", SHAPE, ["u"], stats), 10)
    return profile.outcome, stats.bank_failure


def test_nobody_waits_for_a_bank_that_fails() -> None:
    """With the breaker open a lookup is tried behind its request's back; when it succeeds, all are."""

    async def scenario() -> None:
        bank = Bank()
        profiles = profiles_of(bank, Breaker(1, retry_s=0))
        bank.away = True
        assert await outcome(profiles) == ("unavailable", "unavailable")
        bank.away = False
        bank.gate.clear()  # it hangs, without end
        assert await outcome(profiles) == ("unavailable", "unavailable")
        await asyncio.sleep(0.01)
        assert bank.asked == 2
        bank.gate.set()
        await asyncio.sleep(0.01)
        assert await outcome(profiles) == ("known", "")

    asyncio.run(scenario())


def test_between_two_probes_the_bank_is_left_alone() -> None:
    """An open breaker asks once per `retry_s`, whatever comes; that failure is told by its kind, the others as such."""

    async def scenario() -> None:
        bank = Bank()
        profiles = profiles_of(bank, Breaker(1, retry_s=1000))
        bank.away = True
        await outcome(profiles)
        assert [await outcome(profiles) for _ in range(5)] == [("unavailable", "breaker")] * 5
        await asyncio.sleep(0.01)
        assert bank.asked == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("requests", [1, 50])
def test_a_round_trip_that_fails_is_one_failure(requests: int) -> None:
    """However many requests share it: one slow answer must not take the bank from everybody."""

    async def scenario() -> None:
        bank = Bank()
        profiles = profiles_of(bank, Breaker(3, retry_s=1000))
        bank.away = True
        for _ in range(2):
            failed = await asyncio.gather(*(outcome(profiles) for _ in range(requests)))
            assert failed == [("unavailable", "unavailable")] * requests
        bank.away = False
        assert await outcome(profiles) == ("known", "")
        assert bank.asked == 3

    asyncio.run(scenario())
