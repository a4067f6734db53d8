"""A swap falls between two requests, and the release before is freed when nobody needs it any more."""

import asyncio
import functools
import io
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import pytest

from tests.fixtures.serving import RECORDS, publish
from tests.fixtures.tiny_release import ITEMS, TinyRelease, write_release
from userip.bank.backends.lmdb.reader import LmdbReader
from userip.bank.backends.lmdb.url import parse_url
from userip.bank.protocol import Lookup
from userip.bank.user_id_secret import VARIABLE
from userip.scoring.dataplane import Dataplane, Scored
from userip.scoring.errors import ReloadError
from userip.scoring.lookup.breaker import Breaker
from userip.scoring.lookup.profiles import Profiles
from userip.scoring.lookup.record_cache import RecordCache
from userip.scoring.messages import ScoreRequest
from userip.scoring.releases.current_release import CurrentRelease, load_and_warm_up
from userip.scoring.request_stats import RequestStats
from userip.service.observe.log import make_logger

P = ParamSpec("P")


def in_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class HeldReader(LmdbReader):
    """Records come when `go` is set."""

    def __init__(self, url: str) -> None:
        super().__init__(parse_url(url))
        self.go = asyncio.Event()

    async def get_many(self, release: str, user_ids: Sequence[str]) -> list[Lookup]:
        await self.go.wait()
        return await super().get_many(release, user_ids)


@pytest.fixture
def other(tmp_path: Path, lmdb_url: str) -> TinyRelease:
    """A second release, in the bank."""
    release = write_release(tmp_path / "releases" / "other", seed=1)
    publish(lmdb_url, release.name)
    return release


async def settled(current: CurrentRelease) -> None:
    await asyncio.wait_for(asyncio.gather(*current._retiring), 10)


@in_a_loop
async def test_a_request_in_flight_ends_on_the_release_that_it_began_with(
    lmdb_url: str, tiny: TinyRelease, other: TinyRelease
) -> None:
    """It waits for the bank while the swap happens: scores, records and name are those of the old release."""
    reader = HeldReader(lmdb_url)
    current = CurrentRelease(tiny.path, load_and_warm_up(tiny.path, 10), reader, 10, other.path.parent)
    profiles = Profiles(reader, make_logger("info", io.BytesIO()), RecordCache(10, 10), Breaker(0, 1))
    dataplane = Dataplane(current, profiles)
    stats = [RequestStats(), RequestStats()]

    def ask(number: int) -> asyncio.Task[list[Scored]]:
        return asyncio.create_task(dataplane.score([ScoreRequest("u1", list(ITEMS))], stats[number], batch=False))

    before = ask(0)
    await asyncio.sleep(0)
    await current.reload(other.name)
    after = ask(1)
    await asyncio.sleep(0.3)  # long enough to free the old release, were it not in use
    assert not before.done()
    reader.go.set()
    record = RECORDS["u1"]
    for task, release, fact in ((before, tiny, stats[0]), (after, other, stats[1])):
        (scored,) = await task
        assert fact.release == release.name
        expected = list(release.expected(ITEMS, record.row, record.codes))
        assert list(scored.scores) == pytest.approx(expected, abs=1e-6)
    del task, before, after
    await settled(current)
    await reader.close()


@in_a_loop
async def test_what_was_replaced_is_freed_when_its_last_user_is_done(
    lmdb_url: str, tiny: TinyRelease, other: TinyRelease
) -> None:
    """As long as somebody holds the old release it stays whole; then its table of ids is emptied."""
    reader = HeldReader(lmdb_url)
    held = load_and_warm_up(tiny.path, 10)
    rows = held.item_rows
    current = CurrentRelease(tiny.path, held, reader, 10, other.path.parent)
    await current.reload(other.name)
    await asyncio.sleep(0.4)
    assert len(rows) == len(ITEMS)
    del held
    await settled(current)
    assert rows == {}
    assert len(current.release.item_rows) == len(ITEMS)
    await reader.close()


@in_a_loop
async def test_a_release_whose_user_ids_are_hidden_by_another_key_is_refused(
    lmdb_url: str, tiny: TinyRelease, tmp_path: Path
) -> None:
    """No user of it could be found, so the release before is served on; the answer names the variable to set."""
    hidden = write_release(tmp_path / "releases" / "hidden", seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "correct horse battery staple")
        publish(lmdb_url, hidden.name)
    reader = HeldReader(lmdb_url)
    current = CurrentRelease(tiny.path, load_and_warm_up(tiny.path, 10), reader, 10, hidden.path.parent)
    with pytest.raises(ReloadError, match=f"hides its user ids by a key .*{VARIABLE}"):
        await current.reload(hidden.name)
    assert current.release.name == tiny.name
    await reader.close()
