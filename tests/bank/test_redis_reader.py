"""The service's Redis reader under bad conditions: bounded in time, never another user's record."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import uvloop

from bank import Record, open_bank
from bank.errors import BankUnavailableError, RecordError, UnknownReleaseError
from bank.redis_exchange import ServerExchange, pack
from bank.redis_reader import RedisReader
from bank.urls import RedisUrl, parse_url
from loadtests.redis_server import RedisServer
from tests.bank.conftest import make_users
from tests.bank.proxy import Proxy

USERS = make_users(2000)
Reading = Callable[[RedisReader], Coroutine[Any, Any, None]]


@asynccontextmanager
async def reader_of(url: str, deadline_s: float = 5, max_connections: int = 8) -> AsyncIterator[RedisReader]:
    """A reader that is closed afterwards."""
    parsed = parse_url(url)
    assert isinstance(parsed, RedisUrl)
    reader = RedisReader(parsed, deadline_s=deadline_s, max_connections=max_connections)
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


def in_use(reader: RedisReader) -> int:
    """Connections that some request holds."""
    exchange = reader._exchange
    assert isinstance(exchange, ServerExchange)
    return len(exchange.pool._in_use_connections)


async def unavailable_after(reading: Awaitable[object]) -> float:
    """Seconds until `reading` says that the bank is unavailable."""
    started = time.perf_counter()
    with pytest.raises(BankUnavailableError):
        await reading
    return time.perf_counter() - started


def test_commands_go_out_as_redis_reads_them() -> None:
    """RESP by hand: an array of bulk strings."""
    assert pack((b"HGET", b"k", b"\r\n")) == b"*3\r\n$4\r\nHGET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n"


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_cancelled_reads_leave_no_reply_for_others(
    redis_url: str, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
) -> None:
    """Thousands of reads cancelled at random, some twice: no value of another user, no connection lost."""
    publish(redis_url)

    async def storm(reader: RedisReader) -> None:
        loop, generator = asyncio.get_running_loop(), random.Random(0)
        outcomes = {"read": 0, "cancelled": 0}
        for _ in range(60):
            tasks = [asyncio.create_task(assert_right(reader, generator.randrange(2000))) for _ in range(60)]
            for task in tasks:
                moment = generator.uniform(0, 0.02)
                loop.call_later(moment, task.cancel)
                if generator.random() < 0.3:
                    loop.call_later(moment + generator.uniform(0, 2e-4), task.cancel)
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, asyncio.CancelledError):
                    outcomes["cancelled"] += 1
                else:
                    assert result is None, repr(result)
                    outcomes["read"] += 1
        await asyncio.sleep(0.05)
        assert in_use(reader) == 0
        assert min(outcomes.values()) > 100, outcomes
        for number in range(200):
            await assert_right(reader, number)

    with_reader(storm, redis_url, loop_factory)


def test_a_reply_that_comes_late_answers_nobody_else(redis_url: str, redis_server: RedisServer) -> None:
    """After a read gave up, its reply is never taken for that of the next read."""
    publish(redis_url)
    with Proxy(redis_server.port) as proxy:

        async def late(reader: RedisReader) -> None:
            await assert_right(reader, 0)
            for number in range(1, 20):
                proxy.delay_s = 0.08
                await unavailable_after(reader.get_many("a", [f"user-{number}"]))
                proxy.delay_s = 0
                await asyncio.sleep(0.05)
                await assert_right(reader, number + 100)

        with_reader(late, proxy.url, deadline_s=0.04, max_connections=1)


def test_a_read_that_is_cancelled_twice_gives_its_connection_back(redis_url: str, redis_server: RedisServer) -> None:
    """The second cancellation comes while the connection goes back to the pool: it arrives all the same."""
    publish(redis_url)
    with Proxy(redis_server.port) as proxy:

        async def read(reader: RedisReader) -> None:
            await assert_right(reader, 1)
            proxy.delay_s = 0.3
            task = asyncio.create_task(reader.get_many("a", ["user-1"]))
            await asyncio.sleep(0.05)
            exchange = reader._exchange
            assert isinstance(exchange, ServerExchange)
            async with exchange.pool._condition:  # the pool is busy, so giving back takes a while
                for _ in range(2):
                    task.cancel()
                    await asyncio.sleep(0.01)
            with pytest.raises(asyncio.CancelledError):
                await task
            proxy.delay_s = 0
            await assert_right(reader, 2)
            assert in_use(reader) == 0

        with_reader(read, proxy.url, max_connections=1)


def test_an_error_among_replies_leaves_none_of_them_behind(redis_url: str, redis_server: RedisServer) -> None:
    """A batch whose first reply is an error fails whole; later reads do not get the replies after it."""
    publish(redis_url)

    async def read(reader: RedisReader) -> None:
        with redis_server.client() as client:
            bucket, _ = _place(client, "user-3")
            client.set(bucket, "a string, not a hash")
        with pytest.raises(BankUnavailableError, match="WRONGTYPE"):
            await reader.get_many("a", ["user-3", *USERS.ids[:1000]])
        with redis_server.client() as client:
            client.delete(bucket)
        for number in range(1000, 1020):
            found = await reader.get_many("a", [f"user-{number}"])
            assert found in ([None], [Record(number + 1, (number % 7, number % 1000, 0xFFFF))])

    with_reader(read, redis_url, max_connections=1)


def test_sliced_replies_are_put_together(redis_url: str, redis_server: RedisServer) -> None:
    """A reply that comes in pieces of three bytes is one reply."""
    publish(redis_url)
    with Proxy(redis_server.port) as proxy:
        proxy.slice_bytes = 3

        async def read(reader: RedisReader) -> None:
            found = await reader.get_many("a", USERS.ids[:50])
            assert found == [Record(i + 1, (i % 7, i % 1000, 0xFFFF)) for i in range(50)]

        with_reader(read, proxy.url)


def test_a_reset_in_the_middle_of_a_reply(redis_url: str, redis_server: RedisServer) -> None:
    """A connection that breaks mid-reply costs this read; the next one connects again."""
    publish(redis_url)
    with Proxy(redis_server.port) as proxy:

        async def read(reader: RedisReader) -> None:
            for number in range(20):
                await assert_right(reader, number)
                proxy.reset_replies = 1
                await unavailable_after(reader.get_many("a", ["user-5"]))
            await assert_right(reader, 5)
            assert in_use(reader) == 0

        with_reader(read, proxy.url)


def test_killed_connections_are_replaced(redis_url: str, redis_server: RedisServer) -> None:
    """CLIENT KILL on idle connections is not even noticed by the next reads."""
    publish(redis_url)

    async def read(reader: RedisReader) -> None:
        await asyncio.gather(*[assert_right(reader, number) for number in range(50)])
        with redis_server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.02)
        await asyncio.gather(*[assert_right(reader, number) for number in range(50)])

    with_reader(read, redis_url)


def test_a_server_that_stands_still_costs_no_more_than_the_deadline(
    start_redis: Callable[..., RedisServer],
) -> None:
    """SIGSTOP: every read ends at its deadline, however many wait; after SIGCONT reads work again at once."""
    server = start_redis()
    publish(server.url)

    async def read(reader: RedisReader) -> None:
        await assert_right(reader, 1)
        server.pause()
        waits = await asyncio.gather(*[unavailable_after(reader.get_many("a", ["user-1"])) for _ in range(100)])
        assert max(waits) < 0.05 + 0.25  # the deadline, and slack for a busy machine
        assert await unavailable_after(reader.ping()) < 0.3
        server.resume()
        started = time.perf_counter()
        while True:
            try:
                await assert_right(reader, 2)
                break
            except BankUnavailableError:
                assert time.perf_counter() - started < 1
        assert in_use(reader) == 0

    with_reader(read, server.url, deadline_s=0.05)


def test_a_server_that_is_away_and_comes_back_empty(start_redis: Callable[..., RedisServer]) -> None:
    """SIGKILL: reads fail at once. Restarted empty: no release. Published again: served."""
    server = start_redis()
    publish(server.url)

    async def read(reader: RedisReader) -> None:
        await assert_right(reader, 1)
        server.kill()
        assert await unavailable_after(reader.get_many("a", ["user-1"])) < 0.5
        assert await unavailable_after(reader.ping()) < 0.5
        await asyncio.to_thread(server.start)
        await reader.ping()
        assert await reader.active() is None
        assert not await reader.has_release("a")
        with pytest.raises(UnknownReleaseError):
            await reader.get_many("a", ["user-1"])
        await asyncio.to_thread(publish, server.url)
        await assert_right(reader, 1)

    with_reader(read, server.url, deadline_s=1)


def test_flushall_is_noticed_within_a_second(redis_url: str, redis_server: RedisServer) -> None:
    """A bank that was emptied has unknown users first, and within a second no release."""
    publish(redis_url)

    async def read(reader: RedisReader) -> None:
        await assert_right(reader, 1)
        with redis_server.client() as client:
            client.flushall()
        assert await reader.get_many("a", ["user-1"]) == [None]
        await asyncio.sleep(1.05)
        with pytest.raises(UnknownReleaseError):
            await reader.get_many("a", ["user-1"])
        assert not await reader.has_release("a")

    with_reader(read, redis_url)


def test_a_release_published_again_is_noticed_within_a_second(redis_url: str) -> None:
    """A reader that knows the first records of a release moves on to the second ones by itself."""
    publish(redis_url)
    publish(redis_url, "b")

    async def read(reader: RedisReader) -> None:
        await assert_right(reader, 1)
        bank = open_bank(redis_url)
        bank.publish("a", ["user-1"], np.array([77], np.uint32), np.array([[9]], np.uint16))
        bank.close()
        await asyncio.sleep(1.05)
        assert await reader.get_many("a", ["user-1", "user-2"]) == [Record(77, (9,)), None]

    with_reader(read, redis_url)


def test_damaged_values_are_errors_in_their_place(redis_url: str, redis_server: RedisServer) -> None:
    """A value that is no record is an error for that user alone."""
    publish(redis_url)

    async def read(reader: RedisReader) -> None:
        with redis_server.client() as client:
            bucket, field = _place(client, "user-3")
            client.hset(bucket, field, b"\x01damaged")
        first, damaged, last = await reader.get_many("a", ["user-2", "user-3", "user-4"])
        assert isinstance(first, Record)
        assert isinstance(last, Record)
        assert isinstance(damaged, RecordError)

    with_reader(read, redis_url)


def _place(client: Any, user_id: str) -> tuple[bytes, bytes]:  # noqa: ANN401  (a redis client)
    """The key and field of a user of release "a", found by looking for the record itself."""
    number = int(user_id.split("-")[1])
    tail = b"".join(n.to_bytes(size, "little") for n, size in [(number + 1, 4), (number % 7, 2)])
    for key in client.scan_iter("userip:1:a:*"):
        for field, value in client.hgetall(key).items():
            if value[5:11] == tail:
                return key, field
    raise AssertionError(f"{user_id} is not stored")


def test_waiting_for_a_connection_is_bounded_too(redis_url: str, redis_server: RedisServer) -> None:
    """When every connection is in use, requests wait for one, and no longer than the deadline."""
    publish(redis_url)
    with Proxy(redis_server.port) as proxy:

        async def read(reader: RedisReader) -> None:
            await asyncio.gather(*[assert_right(reader, number) for number in range(100)])
            proxy.delay_s = 5
            waits = await asyncio.gather(*[unavailable_after(reader.get_many("a", ["user-1"])) for _ in range(20)])
            assert max(waits) < 0.3 + 0.4

        with_reader(read, proxy.url, deadline_s=0.3, max_connections=2)


def test_one_round_trip_per_read(redis_url: str, redis_server: RedisServer) -> None:
    """A read of known users is HGET alone: one per user, and once a second one more for the release."""
    publish(redis_url)

    async def read(reader: RedisReader) -> None:
        await assert_right(reader, 0)
        with redis_server.client() as client:
            client.config_resetstat()
            for number in range(20):
                await assert_right(reader, number)
            await reader.get_many("a", USERS.ids[:30])
            calls = {name: found["calls"] for name, found in client.info("commandstats").items()}
        assert calls.pop("cmdstat_hget") == 50
        assert calls.pop("cmdstat_hgetall", 0) <= 1
        assert set(calls) <= {"cmdstat_config|resetstat", "cmdstat_info"}

    with_reader(read, redis_url)
