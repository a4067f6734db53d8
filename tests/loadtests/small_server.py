"""A small HTTP server of the standard library, whose answers and stalls a test decides."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

Answer = Callable[[str, bytes], tuple[int, bytes]]


class SmallServer:
    """Answers `answer(path, body)` -> (status, body) on a free port; notes what it was asked.

    Closes a connection that is idle for `idle_s` seconds.
    """

    def __init__(self, answer: Answer, idle_s: float | None = None) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        small = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            timeout = idle_s

            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                small.asked.append((self.command, self.path, body))
                status, content = answer(self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = respond  # noqa: N815  # the names that the base class looks for

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __enter__(self) -> "SmallServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
