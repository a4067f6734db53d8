"""Work in the background goes on after failures that nobody foresaw, and says so once."""

import asyncio
import json
from io import BytesIO

import pytest

from userip.scoring.background import keep_doing
from userip.service.observe.log import make_logger


class Over(BaseException):
    """Ends the work from within, as nothing real does."""


def done(outcomes: list[Exception | None], log: BytesIO, every_s: float = 0.5) -> None:
    """Work that comes out so, one time after the other."""
    coming = iter(outcomes)

    async def work() -> None:
        outcome = next(coming, Over())
        if outcome is not None:
            raise outcome

    with pytest.raises(Over):
        asyncio.run(keep_doing(work, make_logger("info", log), "it went wrong", every_s))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited after each time; nobody waits really."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    return waited


def test_each_cause_is_logged_once_with_its_traceback(waits: list[float], log: BytesIO) -> None:
    """The same failure again says nothing new; another one does, and so does the same one after a success."""
    done([OSError("full"), OSError("full"), KeyError("a"), KeyError("b"), None, KeyError("b")], log)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert {(line["event"], line["level"]) for line in lines} == {("it went wrong", "error")}
    said = [line["exception"].splitlines() for line in lines]
    assert [last for *_, last in said] == ["OSError: full", "KeyError: 'a'", "KeyError: 'b'", "KeyError: 'b'"]
    assert all(first.startswith("Traceback") for first, *_ in said)
    assert len(waits) == 6


def test_what_fails_is_tried_ever_more_seldom(waits: list[float], log: BytesIO) -> None:
    """A second, two, four, a minute at the longest; after a success the usual wait, and a second again."""
    done([None, *[OSError("full")] * 9, None, OSError("full")], log)
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 0.5, 1]
    waits.clear()
    done([None, OSError("full")], log, every_s=0.0)
    assert waits == [0.0, 1]


def test_cancelling_ends_it(log: BytesIO) -> None:
    """In the middle of the work, and without a line in the log."""

    async def scenario() -> None:
        task = asyncio.create_task(keep_doing(asyncio.Event().wait, make_logger("info", log), "it went wrong"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert not log.getvalue()
