import io
from collections.abc import Iterator

import pytest

from userip.training.progress import duration, track


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def ticking(step: float) -> Iterator[float]:
    """Times that are `step` seconds apart."""
    now = 0.0
    while True:
        yield now
        now += step


def test_lines_come_every_ten_seconds_with_the_time_left() -> None:
    """Elsewhere than on a terminal, a plain line says count, share, elapsed and remaining time."""
    stream, clock = io.StringIO(), ticking(4.0)
    assert list(track(range(6), label="inferring", stream=stream, clock=lambda: next(clock))) == [*range(6)]
    assert stream.getvalue().splitlines() == [
        "inferring: 3/6 (50 %) in 12 s, about 12 s left",
        "inferring: 6/6 (100 %) in 24 s, about 0 s left",
        "inferring: 6 done in 28 s",
    ]


def test_steps_done_earlier_count_as_progress_but_not_as_speed() -> None:
    """A resumed run starts at its count, and estimates from what it did itself."""
    stream, clock = io.StringIO(), ticking(10.0)
    list(track(range(2), total=100, label="x", done=96, stream=stream, clock=lambda: next(clock)))
    assert stream.getvalue().splitlines()[0] == "x: 97/100 (97 %) in 10 s, about 30 s left"


def test_short_work_is_silent_and_unknown_totals_give_counts() -> None:
    """Work of a few seconds prints nothing; without a total there is no estimate."""
    stream = io.StringIO()
    assert list(track(iter("ab"), label="x", stream=stream)) == ["a", "b"]
    assert stream.getvalue() == ""
    clock = ticking(11.0)
    list(track(iter("a"), label="x", stream=stream, clock=lambda: next(clock)))
    assert stream.getvalue().splitlines()[0] == "x: 1 in 11 s"


def test_a_terminal_gets_a_bar() -> None:
    """On a terminal the label and the count are drawn."""
    stream = Terminal()
    assert list(track(["a", "b"], label="folding", stream=stream)) == ["a", "b"]
    assert "folding" in stream.getvalue()
    assert "2/2" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (4020, "1 h 07 min")]
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    """Seconds, minutes, hours."""
    assert duration(seconds) == text
