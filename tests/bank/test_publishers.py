"""Several publishers and readers at once, over every backend."""

import asyncio
import threading
import time

import numpy as np
import pytest

import userip.bank.backends.lmdb.staging
import userip.bank.backends.redis.publish
from tests.fixtures.banks import make_users
from userip.bank import Bank, Record, open_bank, open_reader
from userip.bank.errors import PublishError
from userip.bank.release_records import ReleaseRecords

USERS = make_users(300)
OTHERS = make_users(200, prefix="other")


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let publishers give signs of life every few users, as they would with millions."""
    monkeypatch.setattr(userip.bank.backends.lmdb.staging, "_CHUNK", 20)
    monkeypatch.setattr(userip.bank.backends.redis.publish, "_USERS_PER_FLUSH", 20)


@pytest.mark.usefixtures("small_steps")
def test_publishers_of_one_release_do_not_mix(bank_url: str) -> None:
    """While one publisher is at work on a release, another is refused; the first one's users are complete."""
    first, second = open_bank(bank_url, lease_s=0.5), open_bank(bank_url, lease_s=0.5)
    started = threading.Event()

    def slowly(done: int, total: int) -> None:
        started.set()
        time.sleep(0.1)

    worker = threading.Thread(target=first.publish, args=("a", USERS.records), kwargs={"progress": slowly})
    worker.start()
    assert started.wait(10)
    (left,) = second.stale_stagings()
    assert (left.release, left.alive) == ("a", True)
    assert second.prune() == []
    with pytest.raises(PublishError, match="another publisher is writing release 'a'"):
        OTHERS.publish(second, "a")
    worker.join()
    assert second.releases()[0].users == 300
    assert None not in second.get_many("a", USERS.ids)
    first.close()
    second.close()


@pytest.mark.usefixtures("small_steps")
def test_a_publisher_that_slept_past_its_lease_cannot_finish(bank_url: str) -> None:
    """Another publisher takes over from a silent one, which then fails instead of mixing its users in."""
    sleeper, other = open_bank(bank_url, lease_s=1), open_bank(bank_url, lease_s=1)
    asleep, wake = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def sleep_once(done: int, total: int) -> None:
        asleep.set()
        wake.wait(10)

    def publish() -> None:
        try:
            sleeper.publish("a", USERS.records, sleep_once)
        except PublishError as error:
            errors.append(error)

    worker = threading.Thread(target=publish)
    worker.start()
    assert asleep.wait(10)
    OTHERS.publish(other, "a")
    wake.set()
    worker.join()
    assert "the lease of this publisher expired" in str(errors[0])
    assert [(info.name, info.users) for info in other.releases()] == [("a", 200)]
    assert None not in other.get_many("a", OTHERS.ids)
    assert other.stale_stagings() == []
    sleeper.close()
    other.close()


def test_readers_see_all_old_or_all_new(bank: Bank, bank_url: str) -> None:
    """While the pointer moves back and forth, whoever reads it finds a complete release of that name."""
    for number, release in enumerate(("a", "b")):
        codes = np.full((300, 1), number, np.uint16)
        bank.publish(release, ReleaseRecords(USERS.ids, USERS.rows, codes))
    bank.activate("a")
    stop = threading.Event()
    mover_bank = open_bank(bank_url)

    def move() -> None:
        while not stop.is_set():
            for release in ("b", "a"):
                mover_bank.activate(release)

    mover = threading.Thread(target=move)
    mover.start()

    async def look() -> set[str]:
        reader = open_reader(bank_url, deadline_s=5)
        seen: set[str] = set()
        looks, end = 0, time.monotonic() + 30
        while looks < 200 or (len(seen) < 2 and time.monotonic() < end):
            looks += 1
            await asyncio.sleep(0.0005)  # leave the mover its turns
            active = await reader.active()
            assert active is not None
            seen.add(active)
            found = await reader.get_many(active, USERS.ids[:20])
            assert found == [Record(i + 1, (("a", "b").index(active),)) for i in range(20)]
        await reader.close()
        return seen

    try:
        seen = asyncio.run(look())
    finally:
        stop.set()
        mover.join()
        mover_bank.close()
    assert seen == {"a", "b"}
