"""One worker process: made by uvicorn in a fresh interpreter, configured by its environment alone."""

import gc
import multiprocessing
import signal

from userip.service.app import create_app
from userip.service.http.middleware import RequestMiddleware
from userip.service.settings import load_settings


def make_app() -> RequestMiddleware:
    """Make the application of this process from `USERIP_...` variables."""
    if multiprocessing.parent_process() is not None:
        # A closed terminal tells everybody: the parent restarts its workers one by one, and none is to fall at once.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return create_app(load_settings({}), settle=settle_memory)


def settle_memory() -> None:
    """Take what was loaded out of the garbage collector's sight.

    Item ids, code descriptions and modules live as long as the process; walking them in the middle of a
    request would show in the tail latency. Requests make few cycles, so collections can be
    rarer than by default.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
