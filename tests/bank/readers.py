"""Readers to test, and what a right answer is."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.fixtures.banks import make_users
from userip.bank import Record, open_bank
from userip.bank.backends.redis.reader import RedisReader
from userip.bank.backends.redis.url import parse_url
from userip.bank.errors import BankUnavailableError

USERS = make_users(2000)
Reading = Callable[[RedisReader], Coroutine[Any, Any, None]]


@asynccontextmanager
async def reader_of(url: str, deadline_s: float = 5, max_connections: int = 8) -> AsyncIterator[RedisReader]:
    """A reader that is closed afterwards."""
    reader = RedisReader(parse_url(url), deadline_s=deadline_s, max_connections=max_connections)
    try:
        yield reader
    finally:
        await reader.close()


def with_reader(
    work: Reading,
    url: str,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    **settings: Any,  # noqa: ANN401  (reader_of's)
) -> None:
    """Run `work` with a reader in an event loop of its own."""

    async def run() -> None:
        async with reader_of(url, **settings) as reader:
            await work(reader)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


def publish(url: str, release: str = "a") -> None:
    """Put USERS into the bank and activate them."""
    bank = open_bank(url)
    USERS.publish(bank, release)
    bank.activate(release)
    bank.close()


async def assert_right(reader: RedisReader, number: int) -> None:
    """User `number` has the record that was published for exactly this user."""
    (found,) = await reader.get_many("a", [f"user-{number}"])
    assert found == Record(number + 1, (number % 7, number % 1000, 0xFFFF))


async def unavailable_after(reading: Awaitable[object]) -> float:
    """Seconds until `reading` says that the bank is unavailable."""
    started = time.perf_counter()
    with pytest.raises(BankUnavailableError):
        await reading
    return time.perf_counter() - started


def place_of(client: Any, user_id: str) -> tuple[bytes, bytes]:  # noqa: ANN401  (a redis client)
    """The key and field of a user of release "a", found by looking for the record itself."""
    number = int(user_id.split("-")[1])
    tail = b"".join(n.to_bytes(size, "little") for n, size in [(number + 1, 4), (number % 7, 2)])
    for key in client.scan_iter("userip:1:a:*"):
        for field, value in client.hgetall(key).items():
            if value[5:11] == tail:
                return key, field
    raise AssertionError(f"{user_id} is not stored")
