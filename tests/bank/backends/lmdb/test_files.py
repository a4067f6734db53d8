"""Files of an LMDB bank that are cut short or find no room: said in words, where to touch a missing page would kill."""

import asyncio
import os
from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from tests.bank.backends.lmdb.test_bank import MANY, USERS, read
from tests.fixtures.small_disk import SmallDisk
from userip.bank import Record, open_bank, open_reader
from userip.bank.backends.lmdb.environment import LmdbEnvironment, key_of
from userip.bank.backends.lmdb.files import missing_bytes
from userip.bank.errors import BankDamagedError, BankFullError


def _cut(url: str, size: int) -> bytes:
    """Cut the data file short, in place; give what it was."""
    data = Path(url.removeprefix("lmdb://"), "data.mdb")
    whole = data.read_bytes()
    os.truncate(data, size)
    return whole


@pytest.mark.parametrize("size", [0, 100, 4096, 10_000, 40_960])
def test_a_bank_that_is_cut_short_is_refused_in_words(size: int, empty_lmdb: str) -> None:
    """To touch a page that is not there would kill: readers, tools and publishers say what is wrong and end with 2."""
    with closing(open_bank(empty_lmdb)) as bank:
        MANY.publish(bank, "a")
    _cut(empty_lmdb, size)
    with pytest.raises(BankDamagedError, match=r"data\.mdb is cut short, [0-9,]+ bytes are missing") as refused:
        read(empty_lmdb, "a", ["user-0"])
    assert refused.value.exit_code == 2
    with closing(open_bank(empty_lmdb, create=False)) as bank, pytest.raises(BankDamagedError):
        bank.releases()
    if size:  # an empty file is what a first publication leaves that found no room
        with closing(open_bank(empty_lmdb)) as bank, pytest.raises(BankDamagedError):
            USERS.publish(bank, "b")


def test_an_open_reader_survives_a_cut_and_finds_the_whole_file_again(empty_lmdb: str) -> None:
    """It says that the bank is cut short as long as it is, and reads on when the file was copied back in place."""
    with closing(open_bank(empty_lmdb)) as bank:
        MANY.publish(bank, "a")

    async def follow() -> None:
        reader = open_reader(empty_lmdb)
        assert await reader.get_many("a", ["user-7"]) == [Record(8, (0, 7, 0xFFFF))]
        whole = _cut(empty_lmdb, 8192)
        for _ in range(2):
            with pytest.raises(BankDamagedError):
                await reader.get_many("a", ["user-7"])
        Path(empty_lmdb.removeprefix("lmdb://"), "data.mdb").write_bytes(whole)
        assert await reader.get_many("a", ["user-7"]) == [Record(8, (0, 7, 0xFFFF))]
        await reader.close()

    asyncio.run(follow())


def test_what_was_published_since_is_looked_at_as_well(empty_lmdb: str) -> None:
    """A reader that has seen a small bank notices the cut of a file that is still longer than that was."""
    with closing(open_bank(empty_lmdb)) as bank:
        USERS.publish(bank, "a")

        async def follow() -> None:
            reader = open_reader(empty_lmdb)
            assert await reader.get_many("a", ["user-0"]) == [Record(1, (0, 0, 0xFFFF))]
            MANY.publish(bank, "b")
            _cut(empty_lmdb, 1_000_000)
            with pytest.raises(BankDamagedError):
                await reader.get_many("b", ["user-7"])
            await reader.close()

        asyncio.run(follow())


def test_a_file_is_as_long_as_its_pages_say(empty_lmdb: str) -> None:
    """LMDB leaves out pages that one transaction took and gave back: such a file must not be taken for cut short."""
    environment = LmdbEnvironment.acquire(Path(empty_lmdb.removeprefix("lmdb://")))

    def take_and_give_back(txn: lmdb.Transaction, size: int, count: int) -> None:
        cursor = txn.cursor()
        cursor.putmulti([(b"d%08d" % number, bytes(size)) for number in range(count)])
        found = cursor.set_range(b"d")
        while found and key_of(cursor).startswith(b"d"):
            found = cursor.delete()

    environment.write(lambda txn: txn.put(b"z", b""))
    environment.write(lambda txn: txn.cursor().putmulti([(b"c%08d" % number, bytes(40)) for number in range(5000)]))
    environment.write(lambda txn: take_and_give_back(txn, 40, 8000))
    environment.write(lambda txn: take_and_give_back(txn, 3000, 100))
    data = Path(empty_lmdb.removeprefix("lmdb://"), "data.mdb")
    assert missing_bytes(str(data), data.stat().st_size) == 0
    assert environment.read(lambda txn: txn.get(b"00000001")) is None
    environment.release()


@pytest.mark.parametrize("room", [0, 4096, 70_000, 200_000])
def test_a_first_publication_on_a_full_disk(room: int, small_disk: SmallDisk) -> None:
    """One line that names the directory, wherever it ends; with room the same publication is done."""
    url = f"lmdb://{small_disk.path / 'bank'}"
    small_disk.leave(room)
    with closing(open_bank(url)) as bank, pytest.raises(BankFullError, match=r"^No space left for .*/bank: free some"):
        MANY.publish(bank, "a")
    small_disk.free()
    with closing(open_bank(url)) as bank:
        MANY.publish(bank, "a")
        assert bank.get_many("a", ["user-7"]) == [Record(8, (0, 7, 0xFFFF))]
