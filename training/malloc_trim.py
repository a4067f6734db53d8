"""Giving memory back to the system."""

import ctypes
import sys


def return_freed() -> None:
    """Hand freed memory back. Does nothing where the C library has no malloc_trim (musl, macOS).

    glibc keeps what was freed between blocks in use. Batches of many shapes leave holes that no later batch fits,
    so a long run would come to hold gigabytes of which it uses some hundred megabytes. Having every large block
    mapped on its own instead would take half of the speed, for the pages have to be cleared anew each time.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
