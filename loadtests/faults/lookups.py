"""Many lookups at once, many of them cancelled: does any caller get another user's record?

The real path of a request's lookup: `CoalescingReader` over the bank's reader over sockets to a redis-server. User
i has row i + 1 and codes that are functions of i, so the record alone shows whose it is.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass

import numpy as np

from userip.bank import Record, ReleaseRecords, open_bank, open_reader
from userip.bank.errors import BankUnavailableError
from userip.scoring.lookup.coalescing import CoalescingReader

RELEASE = "planted"
_AT_ONCE = 2_000
_STRANGERS = 0.05  # of the users asked for are not in the bank


@dataclass(frozen=True)
class Storm:
    """What became of the lookups. `wrong`: a record of another user, a missing one, or one for a stranger."""

    right: int
    cancelled: int
    unavailable: int
    wrong: int
    in_use: int  # connections that are not back in the pool at the end


def publish_planted(url: str, users: int) -> None:
    """Write and activate RELEASE with `users` users, named by their numbers."""
    numbers = np.arange(users)
    codes = np.stack([numbers % 7, numbers % 1009], axis=1).astype(np.uint16)
    bank = open_bank(url)
    try:
        ids = [str(number) for number in range(users)]
        bank.publish(RELEASE, ReleaseRecords(ids, (numbers + 1).astype(np.uint32), codes))
        bank.activate(RELEASE)
    finally:
        bank.close()


def storm(url: str, *, lookups: int, users: int, seed: int = 0, deadline_s: float = 5.0) -> Storm:
    """Look up one to four users at a time, `lookups` times, a third cancelled at a random moment (some after
    their end, some twice).

    `users` have been published by `publish_planted`.
    """
    return asyncio.run(_storm(url, lookups, users, random.Random(seed), deadline_s))  # noqa: S311  (a test's chances)


async def _storm(url: str, lookups: int, users: int, chance: random.Random, deadline_s: float) -> Storm:
    reader = open_reader(url, deadline_s=deadline_s, max_connections=16)
    together = CoalescingReader(reader.get_many)
    outcomes: Counter[str] = Counter()

    async def lookup(delay: float) -> str:
        await asyncio.sleep(delay)
        asked = [
            chance.randrange(users) if chance.random() > _STRANGERS else users + chance.randrange(users)
            for _ in range(chance.randint(1, 4))
        ]
        try:
            found = await together.find(RELEASE, [str(number) for number in asked])
        except BankUnavailableError:
            return "unavailable"
        return "right" if all(found[str(number)] == planted(number, users) for number in asked) else "wrong"

    loop = asyncio.get_running_loop()
    lasting = 0.1  # seconds that the wave before took: cancellations fall into all of it
    for first in range(0, lookups, _AT_ONCE):
        began, size = loop.time(), min(_AT_ONCE, lookups - first)
        tasks = [asyncio.create_task(lookup(chance.random() * lasting / 2)) for _ in range(size)]
        for task in chance.sample(tasks, size // 3):
            moment = chance.random() * lasting
            loop.call_later(moment, task.cancel)
            if chance.random() < 0.3:
                loop.call_later(moment + chance.random() * 2e-4, task.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        lasting = loop.time() - began
        outcomes.update(result if isinstance(result, str) else type(result).__name__ for result in results)
    await asyncio.sleep(0.05)
    in_use = reader.in_use
    await reader.close()
    cancelled = outcomes.pop("CancelledError", 0)
    right, unavailable = outcomes.pop("right", 0), outcomes.pop("unavailable", 0)
    return Storm(right, cancelled, unavailable, sum(outcomes.values()), in_use)


def planted(number: int, users: int) -> Record | None:
    """The record of a user by `publish_planted`; None for a stranger."""
    return Record(number + 1, (number % 7, number % 1009)) if number < users else None
