"""A TCP proxy before a redis-server that delays, slices, swallows, cuts and damages what passes."""

import contextlib
import random
import socket
import threading
import time
from types import TracebackType


class Proxy:
    """Forwards a loopback port of its own to `port`. The settings may change while it runs."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.delay_s = 0.0  # before each piece of a reply
        self.slice_bytes = 1 << 16  # replies pass in pieces of at most this size
        self.reset_replies = 0  # how many more replies end in a reset after their first byte
        self.drop_replies = False  # what the server says is swallowed
        self.corrupt: random.Random | None = None  # one byte of each reply is replaced
        self._cut_after: int | None = None  # request bytes until all connections break, once
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The bank URL that leads through the proxy."""
        return f"redis://127.0.0.1:{self.port}"

    def cut_after(self, request_bytes: int) -> None:
        """Break the connections, once, when so many more bytes of requests have passed."""
        self._cut_after = request_bytes

    def cut(self) -> None:
        """Break all connections now."""
        for side in list(self._open):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._open |= {client, server}
            threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
            threading.Thread(target=self._replies, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(1 << 16):
                if self._cut_after is not None:
                    self._cut_after -= len(piece)
                    if self._cut_after < 0:
                        self._cut_after = None
                        self.cut()
                        break
                server.sendall(piece)
        self._end(client, server)

    def _replies(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while reply := server.recv(1 << 16):
                if self.reset_replies:
                    self.reset_replies -= 1
                    client.sendall(reply[:1])
                    break
                if self.drop_replies:
                    continue
                if self.corrupt is not None:
                    reply = _damaged(reply, self.corrupt)
                for start in range(0, len(reply), self.slice_bytes):
                    if self.delay_s:
                        time.sleep(self.delay_s)
                    client.sendall(reply[start : start + self.slice_bytes])
        self._end(client, server)

    def _end(self, *sides: socket.socket) -> None:
        for side in sides:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()
            self._open.discard(side)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()


def _damaged(reply: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(reply))
    return reply[:at] + bytes([reply[at] ^ chance.randrange(1, 256)]) + reply[at + 1 :]
