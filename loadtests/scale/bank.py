"""How a bank behaves from ten thousand users to ten million: `python -m userip.loadtests.scale.bank`.

For every size: bytes a user by the store's own account, the rate of publishing, the publisher's memory, and the time
of a lookup through the service's reader. A publisher is a process of its own and has one thread, as redis-server has.
Lookups take turns between all sizes (A B C D A B C D), so that whatever else the machine does falls on all of them.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import typer
import uvloop
from numpy.typing import NDArray

from userip.bank import AsyncReader, Record, open_bank, open_reader, redact
from userip.bank.errors import BankError, BankUrlError
from userip.bank.opening import backend_of
from userip.bank.protocol import StoreUsage
from userip.loadtests.scale.bank_publisher import codes_of, publish_apart, user_id
from userip.loadtests.servers.redis_server import RedisServer

Row = dict[str, Any]
SIZES: Final = (10_000, 100_000, 1_000_000, 10_000_000)
_BATCH: Final = 50
_DEADLINE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Target:
    """One release to publish and read."""

    url: str
    users: int

    @property
    def release(self) -> str:
        return f"scale-{self.users}"


def _say(line: str) -> None:
    print(line, flush=True)


def measure(
    users: Sequence[int] = SIZES,
    urls: Sequence[str] = (),
    *,
    slots: int = 2,
    reads: int = 10_000,
    redis_options: Sequence[str] = (),
    say: Callable[[str], None] = _say,
) -> list[Row]:
    """Publish and read releases of so many `users`; a row for each kind of bank and size, said as it is measured.

    urls            empty banks to measure, each of which gets all releases (none is activated); without any, a fresh
                    LMDB directory and a redis-server with `redis_options` for every size
    slots           codes of a record
    reads           timed lookups per size
    bytes_per_user  of memory (Redis) or of the file (LMDB)
    publisher_mb    the most memory (MiB) that publishing takes beyond its input, which takes input_mb
    p50_to_smallest the median lookup of one user over that of the smallest size

    Raises the bank's errors, BankUrlError for a bank that is not empty, FileNotFoundError without redis-server.
    """
    sizes, rows = sorted(set(users)), []
    for targets in _named(urls, sizes) if urls else _fresh(sizes, redis_options):
        for target in targets:
            rows.append(_publish(target, slots))
            say(_published(rows[-1]))
        lookups = uvloop.run(_read(targets, slots, reads))
        for row, lookup in zip(rows[-len(targets) :], lookups, strict=True):
            row.update(lookup, p50_to_smallest=lookup["p50_us"] / lookups[0]["p50_us"])
            say(_was_read(row))
    return rows


def _named(urls: Sequence[str], sizes: Sequence[int]) -> Iterator[list[_Target]]:
    for url in urls:
        with contextlib.closing(open_bank(url)) as bank:
            if bank.releases():
                raise BankUrlError(f"bank {redact(url)!r} holds releases; name an empty bank")
        yield [_Target(url, size) for size in sizes]


def _fresh(sizes: Sequence[int], redis_options: Sequence[str]) -> Iterator[list[_Target]]:
    with tempfile.TemporaryDirectory(prefix="userip-scale-") as folder:
        yield [_Target(f"lmdb://{folder}/{size}", size) for size in sizes]
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(RedisServer(*redis_options)) for _ in sizes]
        yield [_Target(server.url, size) for server, size in zip(servers, sizes, strict=True)]


def _publish(target: _Target, slots: int) -> Row:
    before = _store(target.url)
    published = publish_apart(target.url, target.release, target.users, slots)
    after = _store(target.url)
    return {
        "scenario": "bank-scale",
        "bank": backend_of(target.url),
        "version": after.version,
        "users": target.users,
        "slots": slots,
        "bytes_per_user": (after.bytes - before.bytes) / target.users,
        "publish_per_s": target.users / published["publish_s"],
        "server_cpu_s": after.cpu_s - before.cpu_s,
        **published,
    }


def _store(url: str) -> StoreUsage:
    time.sleep(0.2)  # a server's publisher is gone, with its connection and buffers
    with contextlib.closing(open_bank(url)) as bank:
        return bank.usage()


async def _read(targets: Sequence[_Target], slots: int, reads: int) -> list[Row]:
    """Time lookups of one user and of a batch, users at random, and check what comes back."""
    readers = [open_reader(target.url, deadline_s=_DEADLINE_S) for target in targets]
    generator = np.random.default_rng(0)
    times: dict[int, NDArray[np.float64]] = {}
    try:
        for size, turns in ((1, reads), (_BATCH, max(1, reads // 10))):
            times[size] = np.empty((len(targets), turns))
            picked = [generator.integers(0, target.users, size=(turns, size)) for target in targets]
            for turn in range(turns):
                for number, (target, reader) in enumerate(zip(targets, readers, strict=True)):
                    times[size][number, turn] = await _timed(reader, target, picked[number][turn], slots)
    finally:
        for reader in readers:
            await reader.close()
    quantiles = {size: np.quantile(taken, (0.5, 0.99), axis=1) * 1e6 for size, taken in times.items()}
    (p50, p99), (batch_p50, batch_p99) = (quantiles[size] for size in (1, _BATCH))
    names = ("p50_us", "p99_us", "batch_p50_us", "batch_p99_us")
    return [
        dict(zip(names, map(float, figures), strict=True))
        for figures in zip(p50, p99, batch_p50, batch_p99, strict=True)
    ]


async def _timed(reader: AsyncReader, target: _Target, numbers: NDArray[np.int64], slots: int) -> float:
    """Seconds that a lookup of the users `numbers` takes. Raises BankError if their records come back wrong."""
    wanted = [user_id(number) for number in numbers.tolist()]
    start = time.perf_counter()
    found = await reader.get_many(target.release, wanted)
    seconds = time.perf_counter() - start
    codes = codes_of(numbers, slots).tolist()
    expected = [Record(row, tuple(row_codes)) for row, row_codes in zip(numbers.tolist(), codes, strict=True)]
    if found != expected:
        raise BankError(f"bank {redact(target.url)!r}: users {wanted}: read {found}, expected {expected}")
    return seconds


def _published(row: Row) -> str:
    return (
        f"{row['bank']:5s} {row['users']:11,d} users  {row['bytes_per_user']:6.1f} bytes/user  "
        f"publish {row['publish_s']:7.2f} s  {row['publish_per_s']:9,.0f} users/s  "
        f"processor {row['publisher_cpu_s']:6.2f} + {row['server_cpu_s']:6.2f} s  "
        f"memory {row['publisher_mb']:6,.0f} MiB beyond the input's {row['input_mb']:,.0f}"
    )


def _was_read(row: Row) -> str:
    return (
        f"{row['bank']:5s} {row['users']:11,d} users  lookup {row['p50_us']:6.1f} us p50 {row['p99_us']:6.1f} p99  "
        f"{row['p50_to_smallest']:5.2f} x the smallest  "
        f"{_BATCH} users {row['batch_p50_us']:6.0f} us p50 {row['batch_p99_us']:6.0f} p99"
    )


def main(
    users: Annotated[list[int] | None, typer.Option(min=1, help="Size of a bank; may be repeated.")] = None,
    bank: Annotated[list[str] | None, typer.Option(help="URL of an empty bank; may be repeated.")] = None,
    slots: Annotated[int, typer.Option(min=0, max=255, help="Codes of a user.")] = 2,
    reads: Annotated[int, typer.Option(min=1, help="Timed lookups per size.")] = 10_000,
    redis_options: Annotated[str, typer.Option(help="Options of our own redis-servers.")] = "",
) -> None:
    """Measure banks of many sizes, print one line per size and figure."""
    try:
        measure(users or SIZES, bank or (), slots=slots, reads=reads, redis_options=redis_options.split())
    except (BankError, FileNotFoundError, RuntimeError) as error:
        print(f"bank_scale: {error}")
        raise typer.Exit(getattr(error, "exit_code", 1)) from None


if __name__ == "__main__":
    typer.run(main)
