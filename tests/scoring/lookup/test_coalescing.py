"""Reads of one turn become one, and nobody gets another's record."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from userip.bank.errors import BankUnavailableError
from userip.bank.protocol import Lookup
from userip.bank.record import Record
from userip.scoring.lookup.coalescing import CoalescingReader


class Bank:
    """Answers after a while: user `7` has row 7; what was asked together is kept in `asked`."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []
        self.away = False

    async def get_many(self, release: str, user_ids: Sequence[str]) -> list[Lookup]:
        """A record per user, none for negative numbers."""
        self.asked.append(user_ids)
        await asyncio.sleep(random.random() / 1000)
        if self.away:
            raise BankUnavailableError("away")
        return [Record(int(user), (len(release),)) if int(user) >= 0 else None for user in user_ids]


def test_requests_of_one_turn_share_one_read() -> None:
    """Fifty requests for thirty users at once: one read, each user in it once, in the order asked."""
    bank = Bank()

    async def scenario() -> None:
        reader = CoalescingReader(bank.get_many)
        users = [str(number % 30) for number in range(50)]
        found = await asyncio.gather(*(reader.find("a", [user]) for user in users))
        assert [answer[user] for answer, user in zip(found, users, strict=True)] == [
            Record(int(u), (1,)) for u in users
        ]

    asyncio.run(scenario())
    assert bank.asked == [[str(number) for number in range(30)]]


def test_releases_are_read_apart() -> None:
    """During a swap two releases are asked at once: each answer is of its own release."""
    bank = Bank()

    async def scenario() -> None:
        reader = CoalescingReader(bank.get_many)
        one, other = await asyncio.gather(reader.find("a", ["1"]), reader.find("bb", ["1"]))
        assert (one["1"], other["1"]) == (Record(1, (1,)), Record(1, (2,)))

    asyncio.run(scenario())
    assert len(bank.asked) == 2


def test_many_users_of_one_turn_are_several_reads() -> None:
    """A round trip has a bounded size."""
    bank = Bank()

    async def scenario() -> None:
        reader = CoalescingReader(bank.get_many)
        found = await asyncio.gather(*(reader.find("a", [str(number)]) for number in range(1200)))
        assert [answer[str(n)] for n, answer in enumerate(found)] == [Record(n, (1,)) for n in range(1200)]

    asyncio.run(scenario())
    assert [len(users) for users in bank.asked] == [512, 512, 176]


def test_a_failure_reaches_everyone_who_waits_and_no_one_later() -> None:
    """Each gets the error; the next read is a new one."""
    bank = Bank()
    bank.away = True

    async def scenario() -> None:
        reader = CoalescingReader(bank.get_many)
        failed = await asyncio.gather(*(reader.find("a", [u]) for u in "123"), return_exceptions=True)
        assert [type(error) for error in failed] == [BankUnavailableError] * 3
        bank.away = False
        assert (await reader.find("a", ["4"]))["4"] == Record(4, (1,))

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_cancelled_requests_take_nothing_from_the_others(seed: int) -> None:
    """3,000 requests of one to four users at random times, a third cancelled: all others get their own records."""
    chance, bank = random.Random(seed), Bank()

    async def request(reader: CoalescingReader) -> int:
        await asyncio.sleep(chance.random() / 20)
        users = [str(chance.randint(-50, 500)) for _ in range(chance.randint(1, 4))]
        found = await reader.find("a", users)
        for user in users:
            assert found[user] == (Record(int(user), (1,)) if int(user) >= 0 else None)
        return len(users)

    async def scenario() -> None:
        reader = CoalescingReader(bank.get_many)
        tasks = [asyncio.create_task(request(reader)) for _ in range(3000)]
        await asyncio.sleep(0.01)
        doomed = chance.sample(tasks, 1000)
        for task in doomed:
            task.cancel()
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [result for result in results if not isinstance(result, int | asyncio.CancelledError)]
        assert sum(isinstance(result, int) for result in results) >= 2000

    asyncio.run(scenario())
    assert 1 < len(bank.asked) < 2000
