"""Progress of long work: a bar on a terminal, a plain line every ten seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Final, TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn

from userip.terminal import bare

T = TypeVar("T")
REDRAW: Final = 0.1  # seconds


def track(
    items: Iterable[T],
    total: int | None = None,
    label: str = "working",
    *,
    done: int = 0,
    every: float = 10.0,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    """Yield `items` and report how far along they are, with elapsed and estimated remaining time.

    `total` is taken from `len(items)` where it is not given; unknown, only the count is shown. `done` steps
    were finished by an earlier run and count as progress, but not towards the speed. Reports go to `stream`
    (by default stderr).
    """
    stream = sys.stderr if stream is None else stream
    if total is None and isinstance(items, Sized):
        total = len(items) + done
    if stream.isatty():
        yield from _bar(items, total, label, done=done, stream=stream, clock=clock)
    else:
        yield from _lines(items, total, label, done=done, every=every, stream=stream, clock=clock)


def duration(seconds: float) -> str:
    """Write seconds for people: `9 s`, `2 min 05 s`, `1 h 07 min`.

    >>> duration(125)
    '2 min 05 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _bar(
    items: Iterable[T],
    total: int | None,
    label: str,
    *,
    done: int,
    stream: TextIO,
    clock: Callable[[], float],
) -> Iterator[T]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeLeftColumn(), console=Console(file=bare(stream))) as bar:
        task = bar.add_task(label, total=total, completed=done)
        count, drawn = done, clock()
        for item in items:
            yield item
            count += 1
            # The bar costs microseconds; a million quick steps must not wait for it.
            if clock() - drawn >= REDRAW:
                drawn = clock()
                bar.update(task, completed=count)
        bar.update(task, completed=count)


def _lines(
    items: Iterable[T],
    total: int | None,
    label: str,
    *,
    done: int,
    every: float,
    stream: TextIO,
    clock: Callable[[], float],
) -> Iterator[T]:
    begin = said = clock()
    count = done
    for item in items:
        yield item
        count += 1
        now = clock()
        if now - said >= every:
            said = now
            print(_line(label, count, total, now - begin, count - done), file=stream, flush=True)
    # Short work stays silent; work that has spoken also says that it is over.
    if said > begin:
        print(f"{label}: {count} done in {duration(clock() - begin)}", file=stream, flush=True)


def _line(label: str, count: int, total: int | None, elapsed: float, here: int) -> str:
    if not total:
        return f"{label}: {count} in {duration(elapsed)}"
    left = elapsed / here * max(total - count, 0)
    percent = 100 * count / total
    return f"{label}: {count}/{total} ({percent:.0f} %) in {duration(elapsed)}, about {duration(left)} left"
