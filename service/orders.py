"""What an operator ordered to be served, told to all workers of one service through a file that they share."""

import os
import time
from pathlib import Path

import msgspec

_FILE = "reload-order.json"


class Order(msgspec.Struct, frozen=True):
    """Serve `release`, until the bank's pointer is no longer at `pointer`.

    number  tells two orders apart, also of the same release: its directory may have been replaced
    """

    number: int
    release: str
    pointer: str | None


class Orders:
    """The last order that holds. With one worker (`shared` None) it is kept in memory."""

    def __init__(self, shared: Path | None) -> None:
        self._path = None if shared is None else shared / _FILE
        self._own: Order | None = None

    def last(self) -> Order | None:
        """The order that holds, None without any."""
        if self._path is None:
            return self._own
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Order)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def give(self, release: str, pointer: str | None) -> Order:
        """Order `release`, in place of the order before."""
        order = Order(time.time_ns(), release, pointer)
        if self._path is None:
            self._own = order
        else:
            beside = self._path.with_name(f"{_FILE}.{os.getpid()}.writing")
            beside.write_bytes(msgspec.json.encode(order))
            os.replace(beside, self._path)
        return order

    def forget(self) -> None:
        """Nothing is ordered any more."""
        self._own = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
