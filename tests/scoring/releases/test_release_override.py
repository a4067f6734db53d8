"""ReleaseOverride that the workers of one service share: a past one goes, and never takes a newer one with it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path

import pytest

from tests.fixtures.serving import publish
from tests.fixtures.tiny_release import TinyRelease, write_release
from userip.bank.opening import open_reader
from userip.scoring.releases.current_release import CurrentRelease, load_and_warm_up
from userip.scoring.releases.release_override import ReleaseOverride
from userip.scoring.releases.release_sync import ReleaseSync
from userip.service.observe.log import make_logger
from userip.service.observe.metrics import Metrics


@pytest.mark.parametrize("workers", [1, 2])
def test_a_past_order_is_forgotten_and_a_newer_one_is_not(tmp_path: Path, workers: int) -> None:
    """Forgetting names the order: what was given since then, also for the same release, holds on."""
    override = ReleaseOverride(tmp_path if workers > 1 else None)
    first = override.set("r", "pointer")
    override.clear(first)
    assert override.get() is None
    second = override.set("r", "pointer")
    override.clear(first)
    assert override.get() == second


@pytest.mark.parametrize("content", [b"", b'{"number": 1', b'{"release": "\xff"}', b"{}"])
def test_a_file_that_is_no_order_orders_nothing(tmp_path: Path, content: bytes) -> None:
    """What a machine that lost its power may leave behind is no order, and the next one replaces it."""
    (tmp_path / "reload-order.json").write_bytes(content)
    override = ReleaseOverride(tmp_path)
    assert override.get() is None
    assert override.set("r", None) == override.get()


def test_no_order_is_lost_between_the_look_and_the_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is given an order while another removes the one before waits, so that its own stays."""
    remove = Path.unlink
    past = ReleaseOverride(tmp_path).set("past", None)
    giving = threading.Thread(target=lambda: ReleaseOverride(tmp_path).set("newer", None))

    def slowly(path: Path, missing_ok: bool = False) -> None:
        giving.start()
        giving.join(0.2)
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", slowly)
    ReleaseOverride(tmp_path).clear(past)
    giving.join()
    last = ReleaseOverride(tmp_path).get()
    assert last is not None
    assert last.release == "newer"


def test_an_order_to_another_worker_survives_a_look_of_this_one(
    tmp_path: Path, lmdb_url: str, tiny: TinyRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This worker waits for the bank to say that an order is past; the order that comes meanwhile is followed."""
    other = write_release(tmp_path / "releases" / "other", seed=1)
    publish(lmdb_url, other.name, activate=False)
    override = ReleaseOverride(tmp_path)
    override.set(other.name, "where the pointer was long ago")

    async def scenario() -> str:
        reader = open_reader(lmdb_url, deadline_s=2.0, max_connections=1)
        current = CurrentRelease(tiny.path, load_and_warm_up(tiny.path, 5), reader, 5, tmp_path / "releases")
        log, ask = make_logger("error", BytesIO()), reader.active
        sync = ReleaseSync(current, reader, Metrics(), log, ReleaseOverride(tmp_path), follows=True, every_s=0.01)
        monkeypatch.setattr(reader, "active", _asking_after(ask, lambda: override.set(other.name, tiny.name)))
        await sync.look()
        await reader.close()
        return current.release.name

    assert asyncio.run(scenario()) == other.name
    last = override.get()
    assert last is not None
    assert last.pointer == tiny.name


def _asking_after(
    ask: Callable[[], Awaitable[str | None]], happens: Callable[[], object]
) -> Callable[[], Awaitable[str | None]]:
    """`ask`, once something else `happens`."""

    async def active() -> str | None:
        happens()
        return await ask()

    return active
