"""HTTP/1.1 over one kept connection with as little work as possible: bytes out, status and body in."""

import socket
from typing import Final

_PIECE: Final = 1 << 18
_CONNECT_SECONDS: Final = 10.0


class WireError(ConnectionError):
    """The other side closed the connection, or answered with something that is read here as no HTTP."""


class Connection:
    """A kept connection with at most one request under way.

    `busy`: whether one is. `index`, `due`, `sent`: which request of the pool it is, or was last, when it should have
    been sent and when it was. `free`: since when nothing is under way (seconds of `time.perf_counter`).
    """

    __slots__ = ("_body_at", "_buffer", "_end", "_place", "_socket", "busy", "due", "free", "index", "sent")

    def __init__(self, host: str, port: int) -> None:
        self._place = (host, port)
        self.busy = False
        self.index = -1
        self.due = self.sent = self.free = 0.0
        self.open()

    def open(self) -> None:
        """Connect, again if need be. Raises OSError."""
        self._socket = socket.create_connection(self._place, timeout=_CONNECT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # No timeout from here: receive() is called when there is something, and a timeout costs a system call.
        self._socket.settimeout(None)
        self._buffer = b""
        self._body_at = self._end = 0

    def fileno(self) -> int:
        """For polling."""
        return self._socket.fileno()

    def send(self, message: bytes) -> None:
        """Send one request. Raises OSError."""
        self._socket.sendall(message)

    def receive(self) -> tuple[int, bytes] | None:
        """Read what is there; (status, body) when the answer is whole. Raises WireError or OSError."""
        data = self._socket.recv(_PIECE)
        if not data:
            raise WireError("the connection was closed in the middle of an answer")
        buffer = self._buffer = self._buffer + data if self._buffer else data
        if not self._end and not self._read_head(buffer):
            return None
        if len(buffer) < self._end:
            return None
        answer = int(buffer[9:12]), buffer[self._body_at : self._end]
        self._buffer, self._end = b"", 0
        return answer

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read_head(self, buffer: bytes) -> bool:
        cut = buffer.find(b"\r\n\r\n")
        if cut < 0:
            return False
        head = buffer[:cut].lower()
        length = head.partition(b"\r\ncontent-length:")[2].split(b"\r\n", 1)[0]
        if not head.startswith(b"http/1.1 ") or not length.strip().isdigit():
            raise WireError("the answer is no HTTP/1.1 with a Content-Length")
        self._body_at = cut + 4
        self._end = self._body_at + int(length)
        return True
