"""Ending a child process: asked first, then made to."""

import contextlib
import os
import signal
import subprocess
from types import FrameType
from typing import NoReturn


def stop(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """SIGTERM; SIGKILL if it is still there after `seconds`. One that leads a process group takes the group with it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # no group of this number exists unless the process leads one
    process.kill()
    process.wait()


def interrupt_on_sigterm() -> None:
    """SIGTERM ends this program as Ctrl-C does, so that its `with` blocks stop what they started."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
