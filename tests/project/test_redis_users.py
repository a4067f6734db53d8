"""deploy/users.acl on a real server: the publisher can publish and prune, the service can only read."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from userip import commands
from userip.bank import Record, open_bank, open_reader
from userip.bank.errors import BankUnavailableError
from userip.bank.layout import STAGINGS_KEY, lock_key
from userip.bank.release_records import ReleaseRecords
from userip.loadtests.servers.redis_server import RedisServer
from userip.ops.inspection import BankView

ACL = Path(__file__).parents[2] / "deploy/users.acl"


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """A server that knows the users of the file, and nobody else."""
    with RedisServer("--aclfile", str(ACL)) as server:
        yield server


def _url(server: RedisServer, user: str) -> str:
    return server.url.replace("redis://", f"redis://{user}:change-me-{user}@")


def _granted(user: str) -> set[str]:
    """The commands that the file gives a user."""
    (line,) = [line for line in ACL.read_text().splitlines() if line.startswith(f"user {user} ")]
    words = line.split()
    assert "-@all" in words
    assert not [word for word in words if word.startswith("+@")]
    return {word[1:] for word in words if word.startswith("+")}


def _called(server: RedisServer) -> set[str]:
    """The commands that a server has run, those inside scripts too."""
    with server.client() as client:
        stats = client.info("commandstats")
        client.config_resetstat()
    return {name.removeprefix("cmdstat_") for name in stats} - {"hello", "info", "config|resetstat"}


def _publish_everything(url: str) -> None:
    """All that a publisher ever does: also over a dead staging, a failed one, and a release of that name."""
    bank = open_bank(url)
    records = ReleaseRecords(["a", "b"], np.array([1, 2], np.uint32), np.array([[3], [4]], np.uint16))
    for release in ("first", "second", "third", "second"):
        if bank.active() == release:
            bank.rollback()
        bank.publish(release, records)
        bank.activate(release)
    with pytest.raises(KeyboardInterrupt):
        bank.publish("broken", records, progress=_interrupt)
    bank.upsert("third", {"c": Record(0, (7,))})
    bank.get_many("third", ["a", "c", "x"])
    bank.forget("c")
    bank.repair("third", records)
    bank.releases()
    bank.stale_stagings()
    bank.rollback()
    bank.prune(keep=0)
    bank.close()


def _interrupt(_: int, __: int) -> None:
    raise KeyboardInterrupt


async def _read_everything(url: str) -> None:
    """All that the service ever asks for, and `userip inspect` as its user."""
    bank = open_bank(url)
    BankView.of(url, bank)
    bank.close()
    reader = open_reader(url, deadline_s=5.0)
    await reader.active()
    release = await reader.active()
    assert release is not None
    assert await reader.meta(release)
    assert await reader.get_many(release, ["a"])
    await reader.close()


def test_each_user_has_the_commands_that_it_needs_and_no_other() -> None:
    """What a server without users counts of publisher and service is what the file grants; logging in is beside it."""
    logging_in = {"auth", "ping", "select"}
    with RedisServer() as server:
        with server.client() as client:
            client.set(lock_key("first"), "a publisher that was killed", px=1_500)
        _called(server)
        _publish_everything(server.url)
        # CONFIG GET only serves warnings, and would show a server's secrets; MEMORY USAGE only a figure.
        assert _called(server) - {"config|get"} | logging_in == _granted("publisher") | logging_in
        with server.client() as client:
            client.hset(STAGINGS_KEY, "0badbeef", "fourth 1 2025-01-01T00:00:00.000+00:00")  # of a publisher that died
        _called(server)
        asyncio.run(_read_everything(server.url))
        assert _called(server) | logging_in == _granted("service") | logging_in


def test_publisher_does_everything_under_the_file(guarded: RedisServer) -> None:
    """The same work as its user."""
    _publish_everything(_url(guarded, "publisher"))


@pytest.mark.parametrize(
    "command",
    [
        "SET userip:1:{bank}:history x", "DEL userip:1:{bank}:history", "HSET userip:1:x f v", "FLUSHALL", "KEYS *",
        "CONFIG GET *", "CONFIG SET maxmemory 1", "EVAL return(1) 0", "ACL LIST", "SHUTDOWN", "SAVE",
        "REPLICAOF 10.0.0.1 6379", "MODULE LIST", "MONITOR", "SUBSCRIBE x", "SCAN 0", "HGETALL other:key",
    ],
)  # fmt: skip
def test_service_user_is_refused_everything_else(guarded: RedisServer, command: str) -> None:
    """No writes, no scripts, nothing about the server, no key of anybody else; the publisher but the first four."""
    for user in ("service", "publisher"):
        if user == "publisher" and command.partition(" ")[0] in ("SET", "DEL", "HSET", "EVAL"):
            continue
        client = redis.Redis(port=guarded.port, username=user, password=f"change-me-{user}")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command.split(" "))  # type: ignore[no-untyped-call]
        client.close()


def test_publisher_can_do_all_that_publishing_needs(guarded: RedisServer) -> None:
    """Publish, activate, fold in, look up, roll back, inspect and prune: no permission is missing."""
    bank = open_bank(_url(guarded, "publisher"))
    records = ReleaseRecords(["a", "b"], np.array([1, 2], np.uint32), np.array([[3], [4]], np.uint16))
    for release in ("first", "second", "third"):
        bank.publish(release, records)
        bank.activate(release)
    bank.upsert("third", {"c": Record(0, (7,))})
    assert bank.get_many("third", ["a", "c", "x"]) == [Record(1, (3,)), Record(0, (7,)), None]
    assert [(info.name, info.users) for info in bank.releases()] == [
        ("first", 2),
        ("second", 2),
        ("third", 3),
    ]
    assert bank.rollback() == "second"
    assert bank.prune(keep=0)
    assert [info.name for info in bank.releases()] == ["second"]
    bank.close()


def test_service_can_read_and_nothing_else(guarded: RedisServer) -> None:
    """The service's user reads records and the active release; a write is refused."""
    publisher = open_bank(_url(guarded, "publisher"))
    publisher.publish("served", ReleaseRecords(["a"], np.array([5], np.uint32), np.array([[6]], np.uint16)))
    publisher.activate("served")
    publisher.close()

    async def read() -> None:
        reader = open_reader(_url(guarded, "service"), deadline_s=5.0)
        await reader.active()
        assert await reader.active() == "served"
        assert await reader.meta("served")
        assert await reader.get_many("served", ["a", "x"]) == [Record(5, (6,)), None]
        await reader.close()

    asyncio.run(read())
    bank = open_bank(_url(guarded, "service"))
    with pytest.raises(BankUnavailableError, match="access refused"):
        bank.upsert("served", {"a": Record(0, (0,))})
    bank.close()


def test_service_user_can_inspect(guarded: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    """What is active, its size, what was lost and what was left behind: all of it by reads, so its user may see it."""
    publisher = open_bank(_url(guarded, "publisher"))
    records = ReleaseRecords(["a", "b"], np.array([5, 6], np.uint32), np.array([[6], [7]], np.uint16))
    publisher.publish("inspected", records)
    publisher.activate("inspected")
    publisher.close()
    with redis.Redis(port=guarded.port, username="publisher", password="change-me-publisher") as client:
        client.hset(STAGINGS_KEY, "0badbeef", "dead 1 2025-01-01T00:00:00.000+00:00")
        client.hset(STAGINGS_KEY, "600dbeef", "alive 1 2025-01-01T00:00:00.000+00:00")
        client.set(lock_key("alive"), "600dbeef", px=60_000)
        commands.main(["inspect", "--json", "--bank", _url(guarded, "service")])
        client.hdel(STAGINGS_KEY, "0badbeef", "600dbeef")
        client.delete(lock_key("alive"))
    found = json.loads(capsys.readouterr().out)
    assert (found["active"], found["differences"]) == ("inspected", [])
    assert [(left["release"], left["alive"]) for left in found["leftovers"]] == [("dead", False), ("alive", True)]
    assert found["releases"][-1]["bytes_per_user"] > 15


def test_nobody_else_gets_in(guarded: RedisServer) -> None:
    """Without a user, nothing is answered."""
    bank = open_bank(guarded.url)
    with pytest.raises(BankUnavailableError):
        bank.active()
    bank.close()
