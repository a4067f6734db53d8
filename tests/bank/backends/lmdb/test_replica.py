"""A replica answers as the bank that it was copied from, and is whole or the one before."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bank.readers import USERS, publish, with_reader
from userip.bank import Record, open_bank
from userip.bank.backends.lmdb.reader import LmdbReader
from userip.bank.backends.lmdb.replica import Replica, ReplicaCopy, is_copy
from userip.bank.backends.lmdb.url import LmdbUrl
from userip.bank.backends.redis.reader import RedisReader
from userip.bank.errors import PublishError
from userip.bank.release_records import ReleaseRecords
from userip.loadtests.servers.redis_server import RedisServer

ASKED = [*USERS.ids, "nobody", "user-2000"]
Copying = Callable[[RedisReader, Replica], Coroutine[Any, Any, None]]


def with_replica(directory: Path, url: str, work: Copying) -> None:
    """Run `work` with a reader of the bank and the replica."""

    async def run(reader: RedisReader) -> None:
        replica = Replica(directory)
        try:
            await work(reader, replica)
        finally:
            replica.close()

    with_reader(run, url)


async def copy(reader: RedisReader, replica: Replica, *, until: int | None = None) -> tuple[ReplicaCopy, int]:
    """Copy release "a", three buckets at a time; how many records were new. With `until` it stops in the middle."""
    meta = await reader.meta("a")
    assert meta is not None
    copying, written = replica.begin("a", meta), 0
    for first in range(0, meta.buckets, 3):
        if until is not None and first >= until:
            return copying, written
        some = range(first, min(first + 3, meta.buckets))
        written += copying.write(await reader.read_buckets("a", meta, some))
    copying.complete(await reader.meta("a"))
    return copying, written


async def assert_alike(directory: Path, reader: RedisReader) -> None:
    """Both give the same for everybody."""
    other = LmdbReader(LmdbUrl(path=directory))
    assert await other.get_many("a", ASKED) == await reader.get_many("a", ASKED)
    assert other.updated("a") == reader.updated("a")
    await other.close()


def test_a_copy_answers_as_its_source(tmp_path: Path, redis_url: str) -> None:
    """Every record, unknown users and the time of the last change; afterwards there is nothing more to copy."""
    publish(redis_url)

    async def work(reader: RedisReader, replica: Replica) -> None:
        meta = await reader.meta("a")
        assert meta is not None
        assert not is_copy(replica.held("a"), meta)
        assert (await copy(reader, replica))[1] == 2000
        assert is_copy(replica.held("a"), meta)
        await assert_alike(tmp_path, reader)

    with_replica(tmp_path, redis_url, work)


def test_changes_alone_are_written(tmp_path: Path, redis_url: str) -> None:
    """A fold-in of two known and one new user is three records to write."""
    publish(redis_url)

    async def work(reader: RedisReader, replica: Replica) -> None:
        await copy(reader, replica)
        bank = open_bank(redis_url)
        bank.upsert("a", {user: Record(9, (1, 2, 3)) for user in ("user-7", "user-8", "nobody")})
        bank.close()
        meta = await reader.meta("a")
        assert meta is not None
        assert not is_copy(replica.held("a"), meta)
        assert (await copy(reader, replica))[1] == 3
        await assert_alike(tmp_path, reader)

    with_replica(tmp_path, redis_url, work)


def test_a_copy_that_is_cut_short_is_never_read(tmp_path: Path, redis_url: str) -> None:
    """The copy of a new release that was killed midway: the one before is served; the next try starts clean."""
    publish(redis_url)

    async def work(reader: RedisReader, replica: Replica) -> None:
        await copy(reader, replica)
        before = await reader.get_many("a", ASKED)
        publish(redis_url, "b")
        bank = open_bank(redis_url)
        bank.publish("a", ReleaseRecords(["user-1"], np.array([77], np.uint32), np.array([[9]], np.uint16)))
        await copy(reader, replica, until=0)
        other = LmdbReader(LmdbUrl(path=tmp_path))
        assert await other.get_many("a", ASKED) == before
        assert (await copy(reader, replica))[1] == 1
        assert await other.get_many("a", ["user-1", "user-2"]) == [Record(77, (9,)), None]
        await other.close()
        copied = open_bank(f"lmdb://{tmp_path}")
        assert copied.stale_stagings() == []
        assert [(info.name, info.users, info.active) for info in copied.releases()] == [("a", 1, True)]
        copied.close()
        bank.close()

    with_replica(tmp_path, redis_url, work)


def test_a_source_that_changed_or_lost_records_is_no_replica(
    tmp_path: Path, redis_url: str, redis_server: RedisServer
) -> None:
    """Replaced while it was copied, or with fewer records than it says: the replica before stays."""
    publish(redis_url)

    async def work(reader: RedisReader, replica: Replica) -> None:
        meta = await reader.meta("a")
        assert meta is not None
        copying = replica.begin("a", meta)
        copying.write(await reader.read_buckets("a", meta, range(meta.buckets)))
        with pytest.raises(PublishError, match="was replaced while it was copied"):
            copying.complete(meta.model_copy(update={"staging": "other"}))
        with pytest.raises(PublishError, match="was replaced"):
            copying.complete(None)
        with redis_server.client() as client:
            client.delete(next(iter(client.scan_iter(f"userip:1:a:{meta.staging}:*"))))
        with pytest.raises(PublishError, match="the bank says that it holds 2000"):
            await copy(reader, replica)
        assert replica.held("a") is None

    with_replica(tmp_path, redis_url, work)


def test_a_replica_holds_one_release(tmp_path: Path, redis_url: str) -> None:
    """The copy of another release takes the place of the one before."""
    publish(redis_url)

    async def work(reader: RedisReader, replica: Replica) -> None:
        await copy(reader, replica)
        publish(redis_url, "b")
        meta = await reader.meta("b")
        assert meta is not None
        copying = replica.begin("b", meta)
        copying.write(await reader.read_buckets("b", meta, range(meta.buckets)))
        copying.complete(meta)
        assert replica.held("a") is None
        assert replica.held("b") is not None
        copied = open_bank(f"lmdb://{tmp_path}")
        assert (copied.active(), copied.stale_stagings()) == ("b", [])
        copied.close()

    with_replica(tmp_path, redis_url, work)
