"""Publishing that is cut short: the active release stays as it was, and the next attempt starts clean."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import lmdb
import numpy as np
import pytest
import redis

from tests.bank.proxy import Proxy
from tests.fixtures.banks import make_users
from userip import commands
from userip.bank import Bank, Record, open_bank
from userip.bank.backends.lmdb.environment import LmdbEnvironment
from userip.bank.backends.lmdb.reader import record_prefix
from userip.bank.errors import BankFullError, BankUnavailableError, PublishError
from userip.bank.release_records import ReleaseRecords
from userip.loadtests.servers.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
USERS = make_users(300)
MANY = make_users(60_000)


def serve_old(bank: Bank) -> None:
    """Make a release "old" active."""
    USERS.publish(bank, "old")
    bank.activate("old")


def assert_old_is_served(bank: Bank) -> None:
    """The release "old" is active and whole, and no other is complete."""
    assert bank.active() == "old"
    assert [(info.name, info.users) for info in bank.releases()] == [("old", 300)]
    assert bank.get_many("old", USERS.ids) == [Record(i + 1, (i % 7, i % 1000, 0xFFFF)) for i in range(300)]


@contextmanager
def publisher(
    url: str, *, users: int = 300, seconds: float = 0.02, step: int = 20, lease_s: float = 0.5
) -> Iterator[subprocess.Popen[str]]:
    """A process that publishes and activates the release "new" in small, slow steps."""
    arguments = [url, "new", str(users), str(seconds), str(step), str(lease_s)]
    command = [sys.executable, "-m", "tests.bank.publisher", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], users: int) -> None:
    """Return when the publisher has written that many users."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "activated" or int(line) >= users:
            return
    raise AssertionError(f"the publisher ended: {process.stderr.read() if process.stderr else ''}")


@pytest.mark.parametrize("users", [20, 160, 300])
def test_a_killed_publisher_leaves_the_active_release(bank_url: str, users: int) -> None:
    """SIGKILL early, midway or after the last record: readers see the old release; a second try succeeds."""
    bank = open_bank(bank_url, lease_s=0.5)
    serve_old(bank)
    with publisher(bank_url) as process:
        wait_for(process, users)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert_old_is_served(bank)
    (left,) = bank.stale_stagings()
    assert left.release == "new"
    USERS.publish(bank, "new")  # waits until the dead publisher's lease is over, then removes what it left
    bank.activate("new")
    assert bank.stale_stagings() == []
    assert bank.get_many("new", USERS.ids) == bank.get_many("old", USERS.ids)
    bank.close()


def test_what_a_killed_publisher_leaves_and_for_how_long(
    bank_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL: `inspect` says "being written" for the lease, then "left behind"; publishing again leaves nothing."""

    def state() -> str:
        commands.main(["inspect", "--bank", bank_url])
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("incomplete")]
        return line.partition("): ")[2]

    monkeypatch.setattr("userip.ops.commands.open_bank", partial(open_bank, lease_s=1))
    with closing(open_bank(bank_url, lease_s=1)) as bank:
        serve_old(bank)
        with publisher(bank_url, lease_s=1) as process:
            wait_for(process, 160)
            process.send_signal(signal.SIGKILL)
            process.wait()
        killed = time.monotonic()
        assert state() == "being written"
        while state() == "being written":
            assert time.monotonic() < killed + 10
            time.sleep(0.05)
        assert time.monotonic() > killed + 0.5
        assert state() == "left behind; `userip prune` deletes it"
        USERS.publish(bank, "new")
        assert bank.stale_stagings() == []
        assert [info.name for info in bank.releases()] == ["old", "new"]


def test_prune_removes_what_a_killed_publisher_left(bank_url: str) -> None:
    """Stale stagings stay while their publisher may live, and go with `prune` afterwards; the release stays."""
    bank = open_bank(bank_url, lease_s=0.5)
    serve_old(bank)
    with publisher(bank_url) as process:
        wait_for(process, 160)
    (left,) = bank.stale_stagings()
    deadline = time.monotonic() + 30
    # The publisher was another process, with the default lease: in Redis its lock lives that long.
    while (found := bank.stale_stagings()) and found[0].alive and time.monotonic() < deadline:
        time.sleep(0.1)
    expected = [f"new (incomplete {left.staging})"]
    assert bank.prune(dry_run=True) == expected
    assert bank.prune() == expected
    assert bank.stale_stagings() == []
    assert_old_is_served(bank)
    bank.close()


def test_redis_out_of_memory(start_redis: Callable[..., RedisServer]) -> None:
    """A full Redis fails the publication whole, keeps serving, and can be pruned and rolled on afterwards."""
    server = start_redis("--maxmemory-policy", "noeviction")
    bank = open_bank(server.url)
    serve_old(bank)
    with server.client() as client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", used + 500_000)
        with pytest.raises(BankFullError, match="maxmemory is reached; the active release is unchanged"):
            MANY.publish(bank, "new")
        assert_old_is_served(bank)
        assert bank.stale_stagings() == []
        buckets = [key for key in client.scan_iter() if b":new:" in key]
        assert buckets == []
        # Even with nothing left at all the pointer moves, and pruning makes room.
        client.config_set("maxmemory", 0)
        USERS.publish(bank, "newer")
        client.config_set("maxmemory", 1)
        bank.activate("newer")
        assert bank.rollback() == "old"
        bank.activate("newer")
        assert bank.prune(keep=0) == ["old"]
        assert bank.stale_stagings() == []
        with pytest.raises(BankFullError):
            bank.upsert("newer", {"x": Record(0, (1, 2, 3))})
        assert bank.get_many("newer", ["x"]) == [None]
        assert bank.releases()[0].users == 300
    bank.close()


def test_redis_connection_lost(start_redis: Callable[..., RedisServer]) -> None:
    """A connection that breaks midway fails the publication; the old release is served on."""
    server = start_redis()
    with Proxy(server.port) as proxy, closing(open_bank(proxy.url)) as bank:
        serve_old(bank)
        proxy.cut_after(300_000)  # in the middle of the first 20,000 users
        with pytest.raises(BankUnavailableError, match=f"redis at 127.0.0.1:{proxy.port}"):
            MANY.publish(bank, "new")
        assert_old_is_served(bank)
        assert bank.stale_stagings() == []  # what was staged was removed over a new connection
        MANY.publish(bank, "new")
        assert bank.releases()[1].users == 60_000


def test_redis_dies_while_publishing(start_redis: Callable[..., RedisServer]) -> None:
    """A server that stands still or is gone fails the publication within the timeout."""
    server = start_redis()
    bank = open_bank(server.url, timeout_s=0.3)
    started = time.monotonic()
    with pytest.raises(BankUnavailableError, match="redis at"):
        bank.publish("new", MANY.records, lambda done, total: server.pause())
    assert time.monotonic() - started < 30  # a server that stands still would be waited for without end
    server.resume()
    server.kill()
    with pytest.raises(BankUnavailableError, match="redis at"):
        bank.active()
    server.start()  # empty: it keeps nothing on disk
    assert bank.releases() == []
    USERS.publish(bank, "new")
    bank.close()


@pytest.fixture
def tamper(bank: Bank, bank_url: str) -> Callable[[bytes | None], None]:
    """Past the bank: put a value in place of every record of "new" that is written by now; None takes one away."""

    def in_redis(value: bytes | None) -> None:
        with closing(redis.Redis.from_url(bank_url)) as client:
            keys = [key for key in client.scan_iter() if b":new:" in key]
            if value is None:
                client.hdel(keys[0], client.hkeys(keys[0])[0])
                return
            for key in keys:
                client.hset(key, mapping=dict.fromkeys(client.hkeys(key), value))

    def in_lmdb(value: bytes | None) -> None:
        prefix = record_prefix(bank.stale_stagings()[0].staging)

        def step(txn: lmdb.Transaction) -> None:
            keys = [key for key in map(bytes, txn.cursor().iternext(values=False)) if key.startswith(prefix)]
            if value is None:
                txn.delete(keys[0])
                return
            for key in keys:
                txn.put(key, value)

        env = LmdbEnvironment.acquire(Path(bank_url.removeprefix("lmdb://")))
        env.write(step)
        env.release()

    return in_redis if bank_url.startswith("redis") else in_lmdb


@pytest.mark.parametrize(
    ("value", "problem"), [(None, r"300 written, 29\d found"), (b"altered", "a record reads back different")]
)
def test_a_release_that_lost_records_is_not_completed(
    bank: Bank, tamper: Callable[[bytes | None], None], value: bytes | None, problem: str
) -> None:
    """Verification, on every backend: a record that vanished or changed while publishing fails it."""
    serve_old(bank)
    with pytest.raises(PublishError, match=f"verification failed: {problem}"):
        bank.publish("new", USERS.records, lambda done, total: tamper(value))
    assert_old_is_served(bank)
    assert bank.stale_stagings() == []


_FULL_DISK = """
import resource, sys
from userip.bank import open_bank
from userip.bank.backends.lmdb.environment import LmdbEnvironment
from userip.bank.backends.lmdb.reader import record_prefix
from userip.bank.errors import BankFullError
from tests.fixtures.banks import make_users
bank = open_bank(sys.argv[1])
size = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    make_users(60_000).publish(bank, "new")
except BankFullError as error:
    print(error)
"""


def test_lmdb_disk_full(tmp_path: Path) -> None:
    """A disk without room fails the publication whole; the old release is served, and there is room again."""
    url = f"lmdb://{tmp_path / 'bank'}"
    bank = open_bank(url)
    serve_old(bank)
    size = (tmp_path / "bank" / "data.mdb").stat().st_size + 500_000
    command = [sys.executable, "-c", _FULL_DISK, url, str(size)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert "free some and run the same command again" in done.stdout
    assert_old_is_served(bank)
    MANY.publish(bank, "new")
    assert bank.get_many("new", ["user-59999"]) == [Record(60_000, (59_999 % 7, 999, 0xFFFF))]
    bank.close()


def test_a_publisher_that_is_interrupted_cleans_up(bank: Bank) -> None:
    """Ctrl-C during publishing removes what was written before it ends."""
    serve_old(bank)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bank.publish("new", ReleaseRecords(USERS.ids, USERS.rows, np.zeros((300, 1), np.uint16)), interrupt)
    assert_old_is_served(bank)
    assert bank.stale_stagings() == []
