"""Everything that a bank is asked for in its life, over one URL."""

import asyncio
from contextlib import closing

from tests.fixtures.banks import make_users
from userip.bank import Lookup, Record, open_bank, open_reader

USERS = make_users(300)
EXPECTED: list[Lookup] = [Record(i + 1, (i % 7, i % 1000, 0xFFFF)) for i in range(300)]


def check_whole_life(url: str) -> None:
    """Publish, activate, read, fold in, roll back and prune over `url`."""
    with closing(open_bank(url)) as bank:
        for release in ("a", "b"):
            USERS.publish(bank, release)
            bank.activate(release)
        bank.upsert("b", {"new": Record(0, (1, 2, 3)), "user-0": Record(1, (4, 5, 6))})
        assert [(info.name, info.users) for info in bank.releases()] == [("a", 300), ("b", 301)]

        async def read() -> tuple[str | None, list[Lookup]]:
            reader = open_reader(url, deadline_s=5)
            try:
                await reader.active()
                return await reader.active(), await reader.get_many("b", ["new", "user-1", "no", "user-0"])
            finally:
                await reader.close()

        expected = [Record(0, (1, 2, 3)), EXPECTED[1], None, Record(1, (4, 5, 6))]
        assert asyncio.run(read()) == ("b", expected)
        assert bank.rollback() == "a"
        assert bank.prune(keep=0) == ["b"]
        assert bank.get_many("a", USERS.ids) == EXPECTED
