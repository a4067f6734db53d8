"""Exchanges with Redis: replies go to whoever asked, and connections go back, whatever happens."""

import asyncio
import random
from collections.abc import Callable

import pytest
import uvloop

from tests.bank.proxy import Proxy
from tests.bank.readers import USERS, assert_right, place_of, publish, unavailable_after, with_reader
from userip.bank import Record
from userip.bank.backends.redis.connection import ServerConnection, pack
from userip.bank.backends.redis.reader import RedisReader
from userip.bank.errors import BankUnavailableError
from userip.loadtests.servers.redis_server import RedisServer


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
        lasting = 0.02  # seconds that a round takes: cancellations fall into all of it, on a busy machine as well
        for _ in range(60):
            began = loop.time()
            tasks = [asyncio.create_task(assert_right(reader, generator.randrange(2000))) for _ in range(60)]
            for task in tasks:
                moment = generator.uniform(0, 2 * lasting)
                loop.call_later(moment, task.cancel)
                if generator.random() < 0.3:
                    loop.call_later(moment + generator.uniform(0, 2e-4), task.cancel)
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, asyncio.CancelledError):
                    outcomes["cancelled"] += 1
                else:
                    assert result is None, repr(result)
                    outcomes["read"] += 1
            lasting = loop.time() - began
        await asyncio.sleep(0.05)
        assert reader.in_use == 0
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
            for number in range(1, 3):
                proxy.delay_s = 2
                await unavailable_after(reader.get_many("a", [f"user-{number}"]))
                proxy.delay_s = 0
                await asyncio.sleep(1.2)
                await assert_right(reader, number + 100)

        # A second is room for a busy machine where a reply is to come, and still sooner than the late ones.
        with_reader(late, proxy.url, deadline_s=1, max_connections=1)


def test_a_read_that_is_cancelled_twice_gives_its_connection_back(redis_url: str, redis_server: RedisServer) -> None:
    """The second cancellation comes while the connection goes back to the pool: it arrives all the same."""
    publish(redis_url)
    with Proxy(redis_server.port) as proxy:

        async def read(reader: RedisReader) -> None:
            await assert_right(reader, 1)
            proxy.delay_s = 0.3
            task = asyncio.create_task(reader.get_many("a", ["user-1"]))
            await asyncio.sleep(0.05)
            connection = reader._connection
            assert isinstance(connection, ServerConnection)
            async with connection.pool._condition:  # the pool is busy, so giving back takes a while
                for _ in range(2):
                    task.cancel()
                    await asyncio.sleep(0.01)
            with pytest.raises(asyncio.CancelledError):
                await task
            proxy.delay_s = 0
            await assert_right(reader, 2)
            assert reader.in_use == 0

        with_reader(read, proxy.url, max_connections=1)


def test_an_error_among_replies_leaves_none_of_them_behind(redis_url: str, redis_server: RedisServer) -> None:
    """A batch whose first reply is an error fails whole; later reads do not get the replies after it."""
    publish(redis_url)

    async def read(reader: RedisReader) -> None:
        with redis_server.client() as client:
            bucket, _ = place_of(client, "user-3")
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
            assert reader.in_use == 0

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


def test_waiting_for_a_connection_is_bounded_too(redis_url: str, redis_server: RedisServer) -> None:
    """When every connection is in use, requests wait for one, and no longer than the deadline."""
    publish(redis_url)
    with Proxy(redis_server.port) as proxy:

        async def read(reader: RedisReader) -> None:
            await asyncio.gather(*[assert_right(reader, number) for number in range(100)])
            proxy.delay_s = 60
            waits = await asyncio.gather(*[unavailable_after(reader.get_many("a", ["user-1"])) for _ in range(20)])
            assert max(waits) < 10  # one deadline; in turn over two connections it would be ten of them

        with_reader(read, proxy.url, deadline_s=1, max_connections=2)
