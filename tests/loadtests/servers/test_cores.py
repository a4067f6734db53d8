"""Who runs where, and what it used."""

import os
import subprocess
import sys
import time

import pytest

from userip.loadtests.servers.cores import available_cores, cpu_seconds, family, pin, rss_mb, share_out

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize(
    ("cores", "workers", "shared_out"),
    [
        ([3], 1, ((3,), (3,), (3,), False)),
        ([0, 1], 1, ((0,), (1,), (1,), True)),
        ([0, 1], 2, ((0, 1), (1,), (1,), False)),
        ([0, 1, 2], 1, ((0,), (2,), (1,), True)),
        ([0, 1, 2], 2, ((0, 1), (2,), (2,), True)),
        ([4, 5, 6, 7], 2, ((4, 5), (7,), (6,), True)),
    ],
)
def test_load_and_service_are_kept_apart(
    cores: list[int], workers: int, shared_out: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], bool]
) -> None:
    """The service has a core per worker and the load the last one; said where there are too few."""
    assert share_out(cores, workers) == shared_out


@linux
def test_a_process_and_its_children_are_pinned_and_measured() -> None:
    """Cores, processor seconds and memory count for the whole family."""
    busy = "import time; x = bytearray(64 << 20); t = time.time()\nwhile time.time() - t < 0.6: pass"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy!r}]).wait(); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as parent:
        core = available_cores()[-1:]
        pin(parent.pid, core)
        deadline = time.monotonic() + 10
        while len(members := list(family(parent.pid))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert members[0] == parent.pid
        assert {frozenset(os.sched_getaffinity(pid)) for pid in members} == {frozenset(core)}
        most, used = 0.0, 0.0
        while len(list(family(parent.pid))) == 2 and time.monotonic() < deadline:
            most, used = max(most, rss_mb(parent.pid)), max(used, cpu_seconds(parent.pid))
            time.sleep(0.02)
        parent.communicate(b"\n")
    assert most > 64
    assert used > 0.1


def test_a_process_that_is_gone_used_nothing() -> None:
    """A reading that comes too late is 0, no error."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert (cpu_seconds(done.pid), rss_mb(done.pid)) == (0, 0)
