"""How fast a bank is published and read, and what a user costs: `python -m loadtests.bank_benchmark`.

Without --bank it measures a fresh LMDB directory and a redis-server of its own. A bank that is named must be
empty; the release `benchmark` stays in it, never activated.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import redis
import typer
from numpy.typing import NDArray

from bank import Lookup, Record, open_bank, open_reader, redact
from bank.errors import BankError, BankUrlError
from bank.redis_client import sync_client
from bank.urls import LmdbUrl, parse_url
from loadtests.redis_server import RedisServer

_RELEASE = "benchmark"
_SLOTS = 2
_BATCH = 50


def benchmark(
    users: Annotated[int, typer.Option(min=1000, help="Synthetic users to publish.")] = 1_000_000,
    bank: Annotated[list[str] | None, typer.Option(help="URL of an empty bank; may be repeated.")] = None,
    reads: Annotated[int, typer.Option(min=100, help="Timed reads of each kind.")] = 2000,
) -> None:
    """Publish, read back, print one line per figure."""
    try:
        with contextlib.ExitStack() as stack:
            for url in bank or _own_banks(stack):
                _measure(url, users, reads)
    except (BankError, FileNotFoundError) as error:
        print(f"bank_benchmark: {error}")
        raise typer.Exit(getattr(error, "exit_code", 1)) from None


def _own_banks(stack: contextlib.ExitStack) -> Iterator[str]:
    yield f"lmdb://{stack.enter_context(tempfile.TemporaryDirectory(prefix='userip-bank-'))}/bank"
    yield stack.enter_context(RedisServer()).url


def _measure(url: str, users: int, reads: int) -> None:
    user_ids = [f"user-{number:09d}" for number in range(users)]
    rows = np.arange(users, dtype=np.uint32)
    codes = np.random.default_rng(0).integers(0, 256, size=(users, _SLOTS)).astype(np.uint16)
    print(f"bank {redact(url)}: {users:,} users, {_SLOTS} codes")
    with contextlib.closing(open_bank(url)) as opened:
        if opened.releases():
            raise BankUrlError(f"bank {redact(url)!r} holds releases; the benchmark wants an empty bank")
        before = _used_bytes(url)
        start = time.perf_counter()
        opened.publish(_RELEASE, user_ids, rows, codes)
        seconds = time.perf_counter() - start
        print(f"  publish          {seconds:8.2f} s   {users / seconds:12,.0f} users/s")
        print(f"  stored           {(_used_bytes(url) - before) / users:8.1f} bytes a user")
    asyncio.run(_read(url, user_ids, codes, reads))


def _used_bytes(url: str) -> int:
    """What the store takes by its own account: Redis's used_memory, the disk blocks of LMDB's file."""
    parsed = parse_url(url)
    if isinstance(parsed, LmdbUrl):
        data = parsed.path / "data.mdb"
        return data.stat().st_blocks * 512 if data.exists() else 0
    client = sync_client(parsed, timeout_s=10)
    with contextlib.closing(client):
        if isinstance(client, redis.RedisCluster):
            every = client.info("memory", target_nodes=redis.RedisCluster.PRIMARIES)
            return sum(int(node["used_memory"]) for node in every.values())
        return int(client.info("memory")["used_memory"])


async def _read(url: str, user_ids: list[str], codes: NDArray[np.uint16], reads: int) -> None:
    """Time reads of one user and of a batch, users at random, and check what comes back."""
    reader = open_reader(url, deadline_s=5)
    generator = np.random.default_rng(1)
    await reader.get_many(_RELEASE, user_ids[:1])  # connect, learn the release
    for size in (1, _BATCH):
        picked = generator.integers(0, len(user_ids), size=(reads, size))
        times = np.empty(reads)
        for read, positions in enumerate(picked.tolist()):
            wanted = [user_ids[position] for position in positions]
            start = time.perf_counter()
            found = await reader.get_many(_RELEASE, wanted)
            times[read] = time.perf_counter() - start
            _check(found, positions, codes)
        p50, p99 = np.quantile(times, (0.5, 0.99)) * 1e6
        print(f"  get {size:3d} user{'s' if size > 1 else ' '}     {p50:8.0f} us p50   {p99:8.0f} us p99")
    await reader.close()


def _check(found: list[Lookup], positions: list[int], codes: NDArray[np.uint16]) -> None:
    for record, position in zip(found, positions, strict=True):
        expected = Record(position, tuple(codes[position].tolist()))
        if record != expected:
            raise BankError(f"user {position}: read {record}, expected {expected}")


if __name__ == "__main__":
    typer.run(benchmark)
