"""What is LMDB's own: the map that grows, other processes, directories that are not there or not a bank."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from tests.fixtures.banks import make_users
from userip.bank import Lookup, Record, open_bank, open_reader
from userip.bank.errors import BankError, BankUnavailableError

ROOT = Path(__file__).parents[4]
USERS = make_users(300)
MANY = make_users(60_000)


def read(url: str, release: str, user_ids: Sequence[str]) -> list[Lookup]:
    """What the service's reader finds."""

    async def once() -> list[Lookup]:
        reader = open_reader(url)
        try:
            return await reader.get_many(release, user_ids)
        finally:
            await reader.close()

    return asyncio.run(once())


def test_the_map_grows_by_itself(tmp_path: Path) -> None:
    """Publishing far beyond the first size of the map just works."""
    url = f"lmdb://{tmp_path / 'bank'}?map_mb=1"
    with closing(open_bank(url)) as bank:
        for release in ("a", "b", "c"):
            MANY.publish(bank, release)
            bank.activate(release)
        assert (tmp_path / "bank" / "data.mdb").stat().st_size > 6_000_000
        assert bank.get_many("c", ["user-59999"]) == [Record(60_000, (59_999 % 7, 999, 0xFFFF))]


def test_space_is_used_again(tmp_path: Path) -> None:
    """Publishing, activating and pruning over and over does not let the file grow without bound."""
    with closing(open_bank(f"lmdb://{tmp_path / 'bank'}")) as bank:
        sizes = []
        for number in range(8):
            make_users(20_000).publish(bank, f"r{number}")
            bank.activate(f"r{number}")
            bank.prune()
            sizes.append((tmp_path / "bank" / "data.mdb").stat().st_size)
        assert sizes[-1] <= 1.05 * sizes[2]  # three releases: active, previous, and the one being written
        assert sizes[2] <= 3 * 20_000 * 45  # pages are filled, from the second release on as well
        assert [info.name for info in bank.releases()] == ["r6", "r7"]


_FOLLOW = """
import asyncio, sys
from userip.bank import open_reader
async def follow():
    reader = open_reader(sys.argv[1])
    for line in sys.stdin:
        release = line.strip()
        found = await reader.get_many(release, ["user-59999", "user-0", "nobody"]) if release else None
        print(await reader.active(), found, flush=True)
    await reader.close()
asyncio.run(follow())
"""


def test_readers_in_other_processes_see_the_new_pointer_at_once(tmp_path: Path) -> None:
    """A reader that opened a small bank follows activations, growth of the map, fold-in and pruning."""
    url = f"lmdb://{tmp_path / 'bank'}?map_mb=1"
    small = make_users(1)
    with closing(open_bank(url)) as bank:
        small.publish(bank, "a")
        bank.activate("a")
        process = subprocess.Popen(
            [sys.executable, "-c", _FOLLOW, url], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None

            def ask(release: str) -> str:
                assert process.stdin is not None
                assert process.stdout is not None
                print(release, file=process.stdin, flush=True)
                return process.stdout.readline().strip()

            first = Record(1, (0, 0, 0xFFFF))
            assert ask("a") == f"a {[None, first, None]}"
            MANY.publish(bank, "b")
            assert ask("a") == f"a {[None, first, None]}"
            bank.activate("b")
            last = Record(60_000, (59_999 % 7, 999, 0xFFFF))
            assert ask("b") == f"b {[last, first, None]}"
            bank.upsert("b", {"nobody": Record(0, (1, 2, 3))})
            assert ask("b") == f"b {[last, first, Record(0, (1, 2, 3))]}"
            bank.rollback()
            assert ask("") == "a None"
            process.stdin.close()


def test_a_bank_that_is_not_there_yet(tmp_path: Path) -> None:
    """A reader says that there is no bank, without making one, and finds it once it is published."""
    url = f"lmdb://{tmp_path / 'bank'}"

    async def follow() -> None:
        reader = open_reader(url)
        assert not reader.exists()
        with pytest.raises(BankUnavailableError, match="no bank found; create it with `userip publish`"):
            await reader.active()
        assert not (tmp_path / "bank").exists()
        with closing(open_bank(url)) as bank:
            USERS.publish(bank, "a")
            bank.activate("a")
        assert reader.exists()
        assert await reader.active() == "a"
        await reader.close()

    asyncio.run(follow())


def test_tools_do_not_make_a_bank_by_accident(tmp_path: Path) -> None:
    """A mistyped path is an error for `create=False`, not an empty bank."""
    with closing(open_bank(f"lmdb://{tmp_path / 'typo'}", create=False)) as bank:
        for attempt in (bank.active, bank.releases, bank.prune, bank.rollback):
            with pytest.raises(BankUnavailableError, match="no bank found"):
                attempt()
    assert not (tmp_path / "typo").exists()


def test_a_directory_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    """Putting a copy in the place of the bank, as after a restore, is noticed by an open reader."""
    url = f"lmdb://{tmp_path / 'bank'}"
    for place, release in ((tmp_path / "bank", "a"), (tmp_path / "copy", "b")):
        with closing(open_bank(f"lmdb://{place}")) as bank:
            USERS.publish(bank, release)
            bank.activate(release)

    async def follow() -> None:
        reader = open_reader(url)
        assert await reader.active() == "a"
        (tmp_path / "bank").rename(tmp_path / "old")
        (tmp_path / "copy").rename(tmp_path / "bank")
        assert await reader.active() == "b"
        await reader.close()

    asyncio.run(follow())


def test_a_read_only_directory_can_be_served(tmp_path: Path) -> None:
    """A reader opens the bank read-only: what it does leaves the data file as it was."""
    url = f"lmdb://{tmp_path / 'bank'}"
    with closing(open_bank(url)) as bank:
        USERS.publish(bank, "a")
    data = tmp_path / "bank" / "data.mdb"
    before = data.read_bytes()
    data.chmod(0o444)
    assert read(url, "a", ["user-0"]) == [Record(1, (0, 0, 0xFFFF))]
    assert data.read_bytes() == before


def test_what_is_no_bank_is_refused(tmp_path: Path) -> None:
    """A file of something else, or another key layout, is an error that names the place."""
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    with pytest.raises(BankUnavailableError, match=str(tmp_path)):
        read(f"lmdb://{tmp_path}", "a", ["x"])
    newer = tmp_path / "newer"
    env = lmdb.open(str(newer))
    with env.begin(write=True) as txn:
        txn.put(b"m:layout", b"2")
    env.close()
    with pytest.raises(BankError, match="key layout 2, this version reads 1"):
        read(f"lmdb://{newer}", "a", ["x"])


def test_bank_and_readers_share_one_environment(tmp_path: Path) -> None:
    """Several banks and readers of one directory in one process work together, closed in any order, twice even."""
    url = f"lmdb://{tmp_path / 'bank'}"
    first, second = open_bank(url), open_bank(f"lmdb://{tmp_path}/./bank")
    USERS.publish(first, "a")
    first.close()
    first.close()
    second.activate("a")
    assert read(url, "a", ["user-0"]) == [Record(1, (0, 0, 0xFFFF))]
    assert second.active() == "a"
    second.close()
    # All closed: LMDB allows the directory to be opened by anybody again.
    lmdb.open(str(tmp_path / "bank")).close()
