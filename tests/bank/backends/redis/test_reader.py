"""The service's Redis reader: bounded in time, and following what happens to the releases."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.bank.readers import USERS, assert_right, place_of, publish, unavailable_after, with_reader
from userip.bank import Record, open_bank
from userip.bank.backends.redis.reader import RedisReader
from userip.bank.errors import BankUnavailableError, RecordError, UnknownReleaseError
from userip.bank.layout import release_key
from userip.bank.release_records import ReleaseRecords
from userip.loadtests.servers.redis_server import RedisServer


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
        # Deadlines one after the other, 8 connections for 100 reads, would be 12 s; the rest is for a busy machine.
        assert max(waits) < 6
        assert await unavailable_after(reader.active()) < 6
        server.resume()
        started = time.perf_counter()
        while True:
            try:
                await assert_right(reader, 2)
                break
            except BankUnavailableError:
                assert time.perf_counter() - started < 20  # else it never comes back
        assert reader.in_use == 0

    with_reader(read, server.url, deadline_s=1)


def test_a_server_that_is_away_and_comes_back_empty(start_redis: Callable[..., RedisServer]) -> None:
    """SIGKILL: reads fail at once. Restarted empty: no release. Published again: served."""
    server = start_redis()
    publish(server.url)

    async def read(reader: RedisReader) -> None:
        await assert_right(reader, 1)
        server.kill()
        assert await unavailable_after(reader.get_many("a", ["user-1"])) < 0.5
        assert await unavailable_after(reader.active()) < 0.5
        await asyncio.to_thread(server.start)
        await reader.active()
        assert await reader.active() is None
        assert not await reader.meta("a")
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
        assert not await reader.meta("a")

    with_reader(read, redis_url)


def test_a_release_published_again_is_noticed_within_a_second(redis_url: str) -> None:
    """A reader that knows the first records of a release moves on to the second ones by itself."""
    publish(redis_url)
    publish(redis_url, "b")

    async def read(reader: RedisReader) -> None:
        await assert_right(reader, 1)
        bank = open_bank(redis_url)
        bank.publish("a", ReleaseRecords(["user-1"], np.array([77], np.uint32), np.array([[9]], np.uint16)))
        bank.close()
        await asyncio.sleep(1.05)
        assert await reader.get_many("a", ["user-1", "user-2"]) == [Record(77, (9,)), None]

    with_reader(read, redis_url)


@pytest.mark.parametrize("damaged", [b"\xe5", b"many"], ids=["no text", "no number"])
def test_damaged_metadata_are_an_answer_that_failed(damaged: bytes, redis_url: str, redis_server: RedisServer) -> None:
    """A release whose metadata cannot be read is as a bank that is away: its error, not one of a decoder."""
    publish(redis_url)
    with redis_server.client() as client:
        client.hset(release_key("a"), "salt", damaged)

    async def read(reader: RedisReader) -> None:
        with pytest.raises(BankUnavailableError, match="metadata of a release cannot be read"):
            await reader.get_many("a", ["user-1"])

    with_reader(read, redis_url)


def test_damaged_values_are_errors_in_their_place(redis_url: str, redis_server: RedisServer) -> None:
    """A value that is no record is an error for that user alone."""
    publish(redis_url)

    async def read(reader: RedisReader) -> None:
        with redis_server.client() as client:
            bucket, field = place_of(client, "user-3")
            client.hset(bucket, field, b"\x01damaged")
        first, damaged, last = await reader.get_many("a", ["user-2", "user-3", "user-4"])
        assert isinstance(first, Record)
        assert isinstance(last, Record)
        assert isinstance(damaged, RecordError)

    with_reader(read, redis_url)


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
