"""What waits of one connection: a few kilobytes of requests that were taken apart, and one read of the socket.

uvicorn takes whatever comes apart into requests, each some kilobytes of objects, and reads on after each answer: one
client that sends small requests and takes no answers would have a worker grow by a hundred megabytes a second. Here
what comes behind a request that waits for the answer before it stays bytes, and nothing more is read until its turn.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_SLICE: Final = 4096  # bytes that are taken apart at a time: of the shortest requests 150
_NOTHING: Final = memoryview(b"")


class _Flow(FlowControl):
    """Goes on reading only where nothing that was read is left."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class PipeliningHttpProtocol(HttpToolsProtocol, ABC):
    """uvicorn's protocol with a bound on requests that wait behind another one of their connection."""

    _rest = _NOTHING

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take over when reading is paused."""
        super().connection_made(transport)
        self.flow: _Flow = _Flow(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything, so that it is freed at once: full collections are rare."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # else its timer holds this object
        self.pipeline.clear()
        self._rest = _NOTHING
        if self.cycle is not None:
            self.cycle.on_response = _nobody

    def data_received(self, data: bytes) -> None:
        """Take apart what has its turn, and keep the rest."""
        self._parse(memoryview(bytes(self._rest) + data if self._rest else data))

    def on_response_complete(self) -> None:
        """Go on with what was kept, when the last one that waited has its turn."""
        self.flow.held = False
        super().on_response_complete()
        if self._rest:
            self._parse(self._rest)

    @abstractmethod
    def feed(self, data: memoryview) -> bool:
        """Give the parser what comes next. False when what is behind it cannot be read."""

    def _parse(self, rest: memoryview) -> None:
        self._unset_keepalive_if_required()
        while rest and not self.pipeline:
            rest = rest[_SLICE:] if self.feed(rest[:_SLICE]) else _NOTHING
        self._rest = rest
        if rest:
            self.flow.pause_reading()
            self.flow.held = True


def _nobody() -> None:
    """Whom an answer's end no longer matters to."""
