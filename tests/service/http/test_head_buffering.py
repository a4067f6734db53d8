"""What leaves through a transport that joins the head of an answer with its body."""

import asyncio
from typing import cast

import pytest

from userip.service.http.head_buffering import HeadBufferingTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        assert not self.closed
        self.written.append(data)

    def close(self) -> None:
        """Nothing may come after."""
        self.closed = True

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed


@pytest.fixture
def wire() -> Wire:
    """What the client gets."""
    return Wire()


@pytest.fixture
def joined(wire: Wire) -> HeadBufferingTransport:
    """The transport under test."""
    return HeadBufferingTransport(cast("asyncio.Transport", wire))


def test_head_and_body_leave_together(joined: HeadBufferingTransport, wire: Wire) -> None:
    """Two answers, two packets; further pieces of a body go out as they come."""
    for data in (HEAD, b"ok", HEAD, b"o", b"k"):
        joined.write(data)
    assert wire.written == [HEAD + b"ok", HEAD + b"o", b"k"]


def test_a_head_without_a_body_leaves_at_the_end(joined: HeadBufferingTransport, wire: Wire) -> None:
    """An answer to HEAD is complete without a body; nothing is written twice."""
    joined.write(HEAD)
    assert wire.written == []
    joined.flush()
    joined.flush()
    assert wire.written == [HEAD]


def test_closing_writes_what_is_held(joined: HeadBufferingTransport, wire: Wire) -> None:
    """A head is not lost when the connection ends behind it."""
    joined.write(HEAD)
    joined.close()
    assert (wire.written, wire.closed, joined.is_closing()) == ([HEAD], True, True)


def test_continue_is_not_held(joined: HeadBufferingTransport, wire: Wire) -> None:
    """A client that waits for 100 Continue would wait for ever."""
    joined.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    joined.write(HEAD)
    joined.write(b"ok")
    assert wire.written == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"ok"]
