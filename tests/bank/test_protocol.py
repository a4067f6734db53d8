"""The contract of a bank, over every backend."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest

from tests.fixtures.banks import COLLIDING, make_users, on_every_bank
from userip.bank import Bank, Lookup, Record, open_reader
from userip.bank.errors import PublishError, RecordError, UnknownReleaseError
from userip.bank.release_records import ReleaseRecords

pytestmark = on_every_bank
USERS = make_users(300)
OTHERS = make_users(200, prefix="other")


def read(url: str, release: str, user_ids: Sequence[str]) -> list[Lookup]:
    """What the service's reader finds."""

    async def once() -> list[Lookup]:
        reader = open_reader(url, deadline_s=5)
        try:
            return await reader.get_many(release, user_ids)
        finally:
            await reader.close()

    return asyncio.run(once())


def names(bank: Bank) -> list[str]:
    """The complete releases."""
    return sorted(info.name for info in bank.releases())


def test_an_empty_bank_holds_nothing(bank: Bank) -> None:
    """Before the first release there is nothing to list, activate, roll back or prune."""
    assert bank.active() is None
    assert bank.releases() == []
    assert bank.stale_stagings() == []
    assert bank.prune() == []


def test_an_empty_bank_refuses_to_move_its_pointer(bank: Bank) -> None:
    """What is not there cannot be activated, and a first release cannot be rolled back."""
    USERS.publish(bank, "a")
    with pytest.raises(UnknownReleaseError, match="no complete release 'b'; it holds a"):
        bank.activate("b")
    with pytest.raises(UnknownReleaseError, match="no release is active"):
        bank.rollback()
    bank.activate("a")
    with pytest.raises(UnknownReleaseError, match="'a' is active and no earlier"):
        bank.rollback()
    assert bank.active() == "a"


def test_publish_completes_a_release_without_activating_it(bank: Bank) -> None:
    """After publishing, the release is listed with its users and slots, and nothing points to it."""
    seen: list[tuple[int, int]] = []
    bank.publish("a", USERS.records, lambda done, total: seen.append((done, total)))
    (info,) = bank.releases()
    assert (info.name, info.users, info.slots, info.active, info.previous) == ("a", 300, 3, False, False)
    assert info.bytes is not None
    assert 15 <= info.bytes / 300 <= 120  # a record alone has 15 bytes
    assert bank.active() is None
    assert bank.stale_stagings() == []
    assert seen[-1] == (300, 300)


def test_every_user_reads_back_as_published(bank: Bank, bank_url: str) -> None:
    """Tools and service find each user's own record, and None for users that are not there."""
    USERS.publish(bank, "a")
    OTHERS.publish(bank, "b")
    asked = [*USERS.ids, "nobody", "", USERS.ids[0], *OTHERS.ids]
    mine: list[Lookup] = [Record(i + 1, (i % 7, i % 1000, 0xFFFF)) for i in range(300)]
    expected = [*mine, None, None, mine[0], *[None] * 200]
    assert bank.get_many("a", asked) == expected
    assert read(bank_url, "a", asked) == expected
    assert bank.get_many("a", []) == read(bank_url, "a", []) == []


def test_a_vector_per_user_reads_back(bank: Bank, bank_url: str) -> None:
    """A release may serve a float32 vector beside the codes; it comes back bit by bit."""
    vectors = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    bank.publish("dense", ReleaseRecords(USERS.ids, USERS.rows, USERS.codes, vectors))
    (found,) = read(bank_url, "dense", [USERS.ids[17]])
    assert isinstance(found, Record)
    assert found.vector == vectors[17].tobytes()
    with pytest.raises(RecordError, match="the release has 20"):
        bank.upsert("dense", {"new": Record(0, (0, 0, 0))})
    bad = vectors.copy()
    bad[3, 1] = np.nan
    with pytest.raises(PublishError, match="not finite"):
        bank.publish("other", ReleaseRecords(USERS.ids, USERS.rows, USERS.codes, bad))


def test_unusual_ids_and_sizes(bank: Bank, bank_url: str) -> None:
    """Any text is a user id; a release may have no users or no codes."""
    ids = ["", " ", "a" * 10_000, "\0", "Zoë", "\U0001f9ff", "userip:1:x", "{bank}"]
    bank.publish("odd", ReleaseRecords(ids, np.arange(8, dtype=np.uint32), np.zeros((8, 0), np.uint16)))
    assert read(bank_url, "odd", ids) == [Record(i, ()) for i in range(8)]
    empty = make_users(0)
    empty.publish(bank, "none")
    assert read(bank_url, "none", ["x"]) == [None]
    assert [info.users for info in bank.releases()] == [8, 0]


def test_a_reader_follows_the_active_pointer(bank: Bank, bank_url: str) -> None:
    """A reader that is open sees publications and activations at once."""

    async def follow() -> None:
        USERS.publish(bank, "a")
        reader = open_reader(bank_url, deadline_s=5)
        assert await reader.active() is None
        assert await reader.meta("a")
        assert not await reader.meta("b")
        for release in ("a", "b"):
            if release == "b":
                OTHERS.publish(bank, "b")
            bank.activate(release)
            assert await reader.active() == release
            assert await reader.meta(release)
        assert await reader.get_many("b", ["other-1", "user-1"]) == [Record(2, (1, 1, 0xFFFF)), None]
        await reader.active()
        await reader.close()

    asyncio.run(follow())


def test_a_reader_refuses_a_release_that_is_not_there(bank: Bank, bank_url: str) -> None:
    """An unknown release is an error, not a bank full of unknown users."""
    USERS.publish(bank, "a")
    with pytest.raises(UnknownReleaseError, match="'b'"):
        bank.get_many("b", ["x"])
    with pytest.raises(UnknownReleaseError, match="'b'"):
        read(bank_url, "b", ["x"])


def test_rollback_walks_back_and_never_forward(bank: Bank) -> None:
    """Each rollback goes one release further back; at the first one it is refused."""
    for release in ("a", "b", "c"):
        USERS.publish(bank, release)
        bank.activate(release)
    bank.activate("c")  # again: not a step of its own
    assert {info.name for info in bank.releases() if info.previous} == {"b"}
    assert bank.rollback() == "b"
    assert bank.rollback() == "a"
    with pytest.raises(UnknownReleaseError, match="no earlier release"):
        bank.rollback()
    assert bank.active() == "a"


def test_the_active_release_is_not_written_again(bank: Bank) -> None:
    """Publishing over what is served is refused with what to do, and changes nothing."""
    USERS.publish(bank, "a")
    bank.activate("a")
    with pytest.raises(PublishError, match="Activate another release first"):
        OTHERS.publish(bank, "a")
    assert bank.get_many("a", ["user-0", "other-0"]) == [Record(1, (0, 0, 0xFFFF)), None]
    assert bank.stale_stagings() == []


def test_a_release_that_is_not_active_is_replaced_whole(bank: Bank, bank_url: str) -> None:
    """Publishing a name again leaves no record of the first time."""
    USERS.publish(bank, "a")
    OTHERS.publish(bank, "a")
    assert read(bank_url, "a", ["user-0", "other-0"]) == [None, Record(1, (0, 0, 0xFFFF))]
    assert [(info.name, info.users) for info in bank.releases()] == [("a", 200)]
    assert bank.stale_stagings() == []


def test_bad_input_leaves_the_bank_as_it_was(bank: Bank) -> None:
    """A duplicate user or a bad name is refused before anything is written."""
    USERS.publish(bank, "a")
    bank.activate("a")
    with pytest.raises(PublishError, match="is given twice"):
        bank.publish("b", ReleaseRecords(["x", "x"], np.zeros(2, np.uint32), np.zeros((2, 1), np.uint16)))
    with pytest.raises(PublishError, match=r"codes: shape \(300,\)"):
        bank.publish("b", ReleaseRecords(USERS.ids, USERS.rows, USERS.codes[:, 0]))
    with pytest.raises(PublishError, match="name"):
        USERS.publish(bank, "b/c")
    assert (names(bank), bank.active(), bank.stale_stagings()) == (["a"], "a", [])


def test_prune_keeps_what_is_pointed_to(bank: Bank) -> None:
    """The active release and the one that rollback goes to stay; all others go, once it is not a dry run."""
    for release in ("a", "b", "c", "never"):
        USERS.publish(bank, release)
        if release != "never":
            bank.activate(release)
    assert sorted(bank.prune(dry_run=True)) == ["a", "never"]
    assert names(bank) == ["a", "b", "c", "never"]
    assert sorted(bank.prune()) == ["a", "never"]
    assert names(bank) == ["b", "c"]
    assert bank.stale_stagings() == []
    assert bank.rollback() == "b"
    assert bank.prune(keep=0) == ["c"]
    assert bank.get_many("b", ["user-0"]) == [Record(1, (0, 0, 0xFFFF))]


def test_prune_without_an_active_release_deletes_no_release(bank: Bank) -> None:
    """A bank whose first release is yet to be activated keeps it."""
    USERS.publish(bank, "a")
    assert bank.prune(keep=0) == []
    assert names(bank) == ["a"]


def test_rollback_never_goes_to_a_pruned_release(bank: Bank) -> None:
    """Pruning also forgets the turns of what it deletes."""
    for release in ("a", "b"):
        USERS.publish(bank, release)
        bank.activate(release)
    assert bank.prune(keep=0) == ["a"]
    with pytest.raises(UnknownReleaseError):
        bank.rollback()
    assert bank.active() == "b"


def test_upsert_adds_and_changes_users(bank: Bank, bank_url: str) -> None:
    """New users count, changed ones do not; everyone else stays; the time of the change is noted."""
    USERS.publish(bank, "a")
    bank.activate("a")
    (before,) = bank.releases()
    time.sleep(0.002)  # the time has milliseconds
    bank.upsert("a", {"new": Record(0, (1, 2, 3)), "user-1": Record(2, (4, 5, 6))})
    bank.upsert("a", {"new": Record(0, (7, 8, 9))})
    assert read(bank_url, "a", ["new", "user-1", "user-2"]) == [
        Record(0, (7, 8, 9)),
        Record(2, (4, 5, 6)),
        Record(3, (2, 2, 0xFFFF)),
    ]
    (after,) = bank.releases()
    assert after.users == 301
    assert after.created == before.created
    assert after.updated > before.updated
    bank.upsert("a", {})


def test_a_large_upsert_is_whole(bank: Bank) -> None:
    """Thousands of users at once, new and old, all arrive and are counted."""
    USERS.publish(bank, "a")
    bank.upsert("a", {f"user-{i}": Record(9, (i % 9, 0, 0)) for i in range(3000)})
    assert bank.get_many("a", [f"user-{i}" for i in range(3000)]) == [Record(9, (i % 9, 0, 0)) for i in range(3000)]
    assert bank.releases()[0].users == 3000


def test_upsert_refuses_what_does_not_fit(bank: Bank) -> None:
    """A wrong number of codes or an unknown release changes nothing."""
    USERS.publish(bank, "a")
    with pytest.raises(RecordError, match="user 'y': 2 codes, the release has 3"):
        bank.upsert("a", {"x": Record(0, (1, 2, 3)), "y": Record(0, (1, 2))})
    with pytest.raises(UnknownReleaseError):
        bank.upsert("b", {"x": Record(0, (1, 2, 3))})
    assert bank.get_many("a", ["x"]) == [None]
    assert bank.releases()[0].users == 300


@pytest.mark.parametrize("at_once", [False, True])
def test_upsert_never_takes_another_users_place(bank: Bank, at_once: bool) -> None:
    """Two users at one place: the second is refused by name and nothing of its batch is written."""
    first, second = COLLIDING
    bank.publish("a", ReleaseRecords([first], np.array([1], np.uint32), np.array([[5]], np.uint16)))
    batch = {"x": Record(0, (1,)), second: Record(0, (2,))}
    if at_once:
        batch = {first: Record(1, (6,)), **batch}
    with pytest.raises(PublishError, match=f"'{second}' cannot be added"):
        bank.upsert("a", batch)
    # The place's value has another tag: the second user is unknown, and never sees the first one's record.
    assert bank.get_many("a", [first, second, "x"]) == [Record(1, (5,)), None, None]
    assert bank.releases()[0].users == 1
    # Published together they take another salt, and both are served.
    bank.publish("b", ReleaseRecords([first, second], np.array([1, 2], np.uint32), np.array([[5], [6]], np.uint16)))
    assert bank.get_many("b", [first, second]) == [Record(1, (5,)), Record(2, (6,))]


def test_a_forgotten_user_is_in_no_release(bank: Bank, bank_url: str) -> None:
    """Only they go, from every release; every release's metadata says so, also where nothing was found."""
    for release in ("a", "b"):
        USERS.publish(bank, release)
    OTHERS.publish(bank, "c")
    bank.upsert("b", {"new": Record(0, (1, 2, 3))})
    before = {info.name: info for info in bank.releases()}
    assert bank.forget("user-7") == ["a", "b"]
    assert bank.forget("new") == ["b"]
    assert bank.forget("nobody") == []
    for release in ("a", "b"):
        assert read(bank_url, release, ["user-7", "user-8"]) == [None, Record(9, (1, 8, 0xFFFF))]
        assert bank.count_missing(release) == 0
    assert read(bank_url, "b", ["new"]) == [None]
    after = {info.name: info for info in bank.releases()}
    assert {name: before[name].users - info.users for name, info in after.items()} == {"a": 1, "b": 2, "c": 0}
    assert (after["b"].folded_in, after["a"].folded_in) == (1, 0)
    assert all(info.updated > before[name].updated for name, info in after.items())

    async def forgotten() -> list[int]:
        reader = open_reader(bank_url, deadline_s=5)
        metas = [await reader.meta(release) for release in ("a", "b", "c")]
        await reader.close()
        return [meta.forgotten for meta in metas if meta is not None]

    assert asyncio.run(forgotten()) == [3, 3, 3]


def test_nobody_is_forgotten_for_another(bank: Bank) -> None:
    """A stranger whose place belongs to somebody else: that record stays."""
    first, second = COLLIDING
    one = ReleaseRecords([first], np.array([1], np.uint32), np.array([[1, 2, 3]], np.uint16))
    bank.publish("a", one)
    assert bank.forget(second) == []
    assert bank.get_many("a", [first]) == [Record(1, (1, 2, 3))]
    assert bank.forget(first) == ["a"]


def test_the_buckets_hold_every_record_once(bank: Bank, bank_url: str) -> None:
    """A replica can copy a release bucket by bucket, all of it, rising; a reader says what it is."""
    USERS.publish(bank, "a")

    async def copy() -> None:
        reader = open_reader(bank_url, deadline_s=5)
        meta = await reader.meta("a")
        assert meta is not None
        records = await reader.read_buckets("a", meta, range(meta.buckets))
        places = [(bucket, field) for bucket, field, _ in records]
        assert places == sorted(set(places))
        assert {int.from_bytes(value[5:9], "little") for _, _, value in records} == set(range(1, 301))  # their rows
        assert (reader.exists(), reader.in_use) == (True, 0)
        assert reader.remote is not bank_url.startswith("lmdb")
        await reader.close()

    asyncio.run(copy())
    assert bank.usage().bytes > 300 * 15
