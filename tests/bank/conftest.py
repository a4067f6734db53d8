"""Banks to test: every backend under one name, and a few users to put into them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from userip.bank import Bank, open_bank
from userip.bank.backends.lmdb.bank import LmdbBank
from userip.bank.backends.redis.bank import RedisBank
from userip.bank.urls import LmdbUrl, parse_url
from userip.loadtests.servers.redis_server import RedisServer

BACKENDS = ("lmdb", "redis")

# Found by search: with one bucket and salt 0 these share the 40-bit field 364506281710; their tags differ.
COLLIDING = ("u1503877", "u2192808")


@dataclass(frozen=True)
class Users:
    """Users as training hands them over: user i has row i + 1 and codes (i mod 7, i mod 1000, unknown)."""

    ids: list[str]
    rows: NDArray[np.uint32]
    codes: NDArray[np.uint16]

    def publish(self, bank: Bank, release: str) -> None:
        """Write them as `release`."""
        bank.publish(release, self.ids, self.rows, self.codes)


def make_users(count: int, prefix: str = "user") -> Users:
    """`count` users whose records a test can compute."""
    number = np.arange(count)
    codes = np.stack([number % 7, number % 1000, np.full(count, 0xFFFF)], axis=1).astype(np.uint16)
    return Users([f"{prefix}-{i}" for i in range(count)], (number + 1).astype(np.uint32), codes)


def open_with_lease(url: str, lease_s: float) -> Bank:
    """A bank whose silent publishers count as dead after `lease_s`, so that tests need not wait."""
    parsed = parse_url(url)
    if isinstance(parsed, LmdbUrl):
        return LmdbBank(parsed, lease_s=lease_s)
    return RedisBank(parsed, lease_s=lease_s)


@pytest.fixture(params=BACKENDS)
def bank_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty bank, for every backend in turn."""
    if request.param == "lmdb":
        return f"lmdb://{tmp_path / 'bank'}"
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
def bank(bank_url: str) -> Iterator[Bank]:
    """An empty bank, for every backend in turn."""
    opened = open_bank(bank_url)
    yield opened
    opened.close()


@pytest.fixture
def start_redis() -> Iterator[Callable[..., RedisServer]]:
    """Start redis-servers with options of one's own; they end with the test."""
    servers: list[RedisServer] = []

    def start(*arguments: str) -> RedisServer:
        servers.append(RedisServer(*arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
