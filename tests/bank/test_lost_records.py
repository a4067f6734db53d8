"""Records that vanish from a complete release, by eviction or a hand: counted, and written again where they were."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import lmdb
import numpy as np
import pytest
import redis

from tests.fixtures.banks import make_users, on_every_bank
from userip.bank import Bank, Record, open_bank
from userip.bank.backends.lmdb.environment import LmdbEnvironment, key_of
from userip.bank.backends.redis.repair import _fill
from userip.bank.errors import PublishError, UnknownReleaseError
from userip.bank.protocol import Repaired
from userip.bank.release_records import ReleaseRecords

USERS = make_users(300)
PUBLISHED = [Record(i + 1, (i % 7, i % 1000, 0xFFFF)) for i in range(300)]
Lose = Callable[[int], int]


@pytest.fixture
def lose(bank_url: str) -> Lose:
    """Delete every n-th of the keys that hold the bank's records, past the bank; gives how many records went."""

    def from_redis(step: int) -> int:
        kind = redis.RedisCluster if "cluster" in bank_url else redis.Redis
        with closing(kind.from_url(bank_url.replace("+cluster", ""))) as client:
            doomed = sorted(key for key in client.scan_iter("userip:1:*") if b"{bank}" not in key)[::step]
            return sum(client.hlen(key) * client.delete(key) for key in doomed)

    def from_lmdb(step: int) -> int:
        env = LmdbEnvironment.acquire(Path(bank_url.removeprefix("lmdb://")))

        def delete(txn: lmdb.Transaction) -> int:
            cursor = txn.cursor()
            keys = [key_of(cursor) for _ in cursor.iternext(values=False) if key_of(cursor).startswith(b"r")][::step]
            return sum(txn.delete(key) for key in keys)

        try:
            return env.write(delete)
        finally:
            env.release()

    return from_redis if bank_url.startswith("redis") else from_lmdb


def repaired(bank: Bank, release: str) -> Repaired:
    """Write the users that were published again."""
    return bank.repair(release, USERS.records)


@on_every_bank
def test_lost_records_are_counted_and_written_again(bank: Bank, lose: Lose) -> None:
    """A whole release has lost nothing; one that has is whole again afterwards, counted and served as published."""
    USERS.publish(bank, "a")
    bank.activate("a")
    assert bank.count_missing("a") == 0
    gone = lose(2)
    assert 0 < gone < 300
    assert bank.count_missing("a") == gone
    assert bank.get_many("a", USERS.ids).count(None) == gone
    assert repaired(bank, "a") == Repaired(gone, 0)
    assert bank.get_many("a", USERS.ids) == PUBLISHED
    assert (bank.count_missing("a"), bank.releases()[0].users) == (0, 300)
    assert repaired(bank, "a") == Repaired(0, 0)
    with pytest.raises(UnknownReleaseError):
        bank.count_missing("b")


@on_every_bank
def test_what_was_folded_in_is_kept_or_told_gone(bank: Bank, lose: Lose) -> None:
    """A record that a fold-in changed stays as it is; users that it added and that are lost are counted no longer."""
    USERS.publish(bank, "a")
    changed = {f"user-{i}": Record(i + 1, (6, 6, 6)) for i in range(300)}
    added = {f"new-{i}": Record(0, (1, 2, 3)) for i in range(40)}
    bank.upsert("a", changed | added)
    assert bank.count_missing("a") == 0
    gone = lose(2)
    kept = dict(zip(changed, bank.get_many("a", list(changed)), strict=True))
    strangers = bank.get_many("a", list(added)).count(None)
    assert 0 < strangers < 40
    assert bank.count_missing("a") == gone
    assert repaired(bank, "a") == Repaired(gone - strangers, strangers)
    assert bank.get_many("a", USERS.ids) == [kept[user] or was for user, was in zip(USERS.ids, PUBLISHED, strict=True)]
    assert (bank.count_missing("a"), bank.releases()[0].users) == (0, 340 - strangers)
    bank.upsert("a", added)
    assert (bank.count_missing("a"), bank.releases()[0].users) == (0, 340)


@on_every_bank
def test_records_of_another_length_are_refused(bank: Bank, lose: Lose) -> None:
    """What does not fit the release is not mixed into it."""
    USERS.publish(bank, "a")
    gone = lose(2)
    with pytest.raises(PublishError, match="has 3 codes and 0 floats a user, the records given have 1 and 0"):
        bank.repair("a", ReleaseRecords(USERS.ids, USERS.rows, np.zeros((300, 1), np.uint16)))
    assert bank.count_missing("a") == gone


def test_a_redis_that_lost_the_active_release_itself_takes_it_again(redis_url: str) -> None:
    """Its metadata evicted, a release that the pointer names still can be published; others read it at once."""
    bank = open_bank(redis_url)
    USERS.publish(bank, "a")
    bank.activate("a")
    client = redis.Redis.from_url(redis_url)
    client.delete("userip:1:{bank}:release:a")
    client.close()
    with pytest.raises(UnknownReleaseError):
        bank.count_missing("a")
    USERS.publish(bank, "a")
    assert bank.active() == "a"
    assert bank.get_many("a", USERS.ids) == PUBLISHED
    with pytest.raises(PublishError, match="Activate another release first"):
        USERS.publish(bank, "a")
    bank.close()


def test_a_release_that_is_replaced_meanwhile_is_left_alone(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who restores a release that is published anew meanwhile fails, and leaves no record behind."""
    opened = open_bank(redis_url)
    USERS.publish(opened, "a")
    client = redis.Redis.from_url(redis_url)

    def slowly(*arguments: object) -> int:
        USERS.publish(opened, "a")
        return _fill(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("userip.bank.backends.redis.repair._fill", slowly)
    with pytest.raises(PublishError, match="'a' was replaced in the meantime; run the command again"):
        repaired(opened, "a")
    assert opened.get_many("a", USERS.ids) == PUBLISHED
    stagings = {key.split(b":")[3] for key in client.scan_iter("userip:1:a:*")}
    assert len(stagings) == 1
    client.close()
    opened.close()
