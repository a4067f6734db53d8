"""An operator's choice of a release, passed to all workers of one service by a shared file."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

_FILE = "reload-order.json"
_LOCK = "reload-order.lock"


class Override(msgspec.Struct, frozen=True):
    """Serve `release`, until the bank's pointer is no longer at `pointer`.

    number  tells two overrides apart, also of the same release: its directory may have been replaced
    """

    number: int
    release: str
    pointer: str | None


class ReleaseOverride:
    """The override in force. With one worker (`shared` None) it is kept in memory."""

    def __init__(self, shared: Path | None) -> None:
        self._path = None if shared is None else shared / _FILE
        self._own: Override | None = None

    def get(self) -> Override | None:
        """The override in force, or None."""
        if self._path is None:
            return self._own
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Override)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def set(self, release: str, pointer: str | None) -> Override:
        """Have `release` served, in place of any override before."""
        order = Override(time.time_ns(), release, pointer)
        if self._path is None:
            self._own = order
            return order
        beside = self._path.with_name(f"{_FILE}.{os.getpid()}.writing")
        beside.write_bytes(msgspec.json.encode(order))
        with _alone(self._path.with_name(_LOCK)):
            os.replace(beside, self._path)
        return order

    def clear(self, order: Override) -> None:
        """End `order`, but not a newer one that another worker was given since."""
        if self._path is None:
            if self._own == order:
                self._own = None
            return
        with _alone(self._path.with_name(_LOCK)):  # else a newer one could come between the look and the removal
            if self.get() == order:
                self._path.unlink(missing_ok=True)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep the other workers from changing the override; the system frees the lock however we end."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
