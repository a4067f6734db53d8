"""A release of synthetic users, published by a process of its own: its memory and processor time are its alone."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from userip.bank import ReleaseRecords, open_bank
from userip.loadtests.servers.cores import status_mb
from userip.training.progress import duration

_SAY_EVERY_S: Final = 10.0


def user_id(number: int) -> str:
    """The id of a synthetic user, whose row is `number`."""
    return f"user-{number:09d}"


def codes_of(numbers: NDArray[np.int64], slots: int) -> NDArray[np.uint16]:
    """The codes of the users `numbers` [n], which a reader can work out again: uint16 [n, slots], below 251."""
    codes = np.empty((len(numbers), slots), dtype=np.uint16)
    for slot in range(slots):
        codes[:, slot] = numbers * (slot + 1) % 251
    return codes


def publish_apart(url: str, release: str, users: int, slots: int) -> dict[str, float]:
    """Publish users 0 to `users` - 1 from a new process; seconds and MiB. Raises what the bank raises.

    publish_s and publisher_cpu_s (wall, processor), input_mb (the process with its ids, rows and codes), publisher_mb
    (the most that publishing takes beyond it).
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_publish, url, release, users, slots).result()


def _publish(url: str, release: str, users: int, slots: int) -> dict[str, float]:
    ids = [user_id(number) for number in range(users)]
    records = ReleaseRecords(ids, np.arange(users, dtype=np.uint32), codes_of(np.arange(users), slots))
    _forget_peak()
    held = status_mb("VmRSS")
    with closing(open_bank(url)) as bank:
        start, processor = time.perf_counter(), time.process_time()
        bank.publish(release, records, _progress(f"publishing {users:,} users"))
        return {
            "publish_s": time.perf_counter() - start,
            "publisher_cpu_s": time.process_time() - processor,
            "input_mb": held,
            "publisher_mb": status_mb("VmHWM") - held,
        }


def _progress(label: str) -> Callable[[int, int], None]:
    """Say on stderr, every ten seconds, how far it is and how long it still takes."""
    begin, before, said = 0.0, 0, 0.0

    def report(done: int, total: int) -> None:
        nonlocal begin, before, said
        now = time.monotonic()
        if not before:  # from the first records on: laying the users out has another pace
            begin = said = now
            before = done
        elif now - said >= _SAY_EVERY_S:
            said = now
            left = duration((now - begin) / (done - before) * (total - done))
            print(f"{label}: {100 * done / total:.0f} %, about {left} left", file=sys.stderr, flush=True)

    return report


def _forget_peak() -> None:
    """Let VmHWM start from what is held now (Linux)."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
