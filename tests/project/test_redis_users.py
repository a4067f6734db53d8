"""deploy/users.acl on a real server: the publisher can publish and prune, the service can only read."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bank import Record, open_bank, open_reader
from bank.errors import BankUnavailableError
from loadtests.redis_server import RedisServer

ACL = Path(__file__).parents[2] / "deploy/users.acl"


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """A server that knows the users of the file, and nobody else."""
    with RedisServer("--aclfile", str(ACL)) as server:
        yield server


def _url(server: RedisServer, user: str) -> str:
    return server.url.replace("redis://", f"redis://{user}:change-me-{user}@")


def test_publisher_can_do_all_that_publishing_needs(guarded: RedisServer) -> None:
    """Publish, activate, fold in, look up, roll back, inspect and prune: no permission is missing."""
    bank = open_bank(_url(guarded, "publisher"))
    users, rows = ["a", "b"], np.array([1, 2], np.uint32)
    codes = np.array([[3], [4]], np.uint16)
    for release in ("first", "second", "third"):
        bank.publish(release, users, rows, codes)
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
    publisher.publish("served", ["a"], np.array([5], np.uint32), np.array([[6]], np.uint16))
    publisher.activate("served")
    publisher.close()

    async def read() -> None:
        reader = open_reader(_url(guarded, "service"), deadline_s=5.0)
        await reader.ping()
        assert await reader.active() == "served"
        assert await reader.has_release("served")
        assert await reader.get_many("served", ["a", "x"]) == [Record(5, (6,)), None]
        await reader.close()

    asyncio.run(read())
    bank = open_bank(_url(guarded, "service"))
    with pytest.raises(BankUnavailableError, match="access refused"):
        bank.upsert("served", {"a": Record(0, (0,))})
    bank.close()


def test_nobody_else_gets_in(guarded: RedisServer) -> None:
    """Without a user, nothing is answered."""
    bank = open_bank(guarded.url)
    with pytest.raises(BankUnavailableError):
        bank.active()
    bank.close()
