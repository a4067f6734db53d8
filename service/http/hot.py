"""Hot routes, which FastAPI has no part in; their answers as bytes, as uvicorn would write them, but at once."""

from collections.abc import Callable, Coroutine, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from userip.service.auth.api_keys import Scope
from userip.service.http.problems import HARDENED
from userip.service.observe.request_record import RequestRecord

Content = bytes | Coroutine[Any, Any, bytes]  # of an answer: JSON, or what has to be awaited for it
Headers = Sequence[tuple[bytes, bytes]]
JSON: Final = (b"content-type", b"application/json")


class HotRoute(NamedTuple):
    """One path, to which POST brings a JSON body.

    rights   the scope that a key needs for it
    answer   takes the body; raises RequestError, then or when awaited
    """

    path: str
    rights: Scope
    answer: Callable[[bytes, RequestRecord], Content]


def answered(common: Headers, content: bytes, request_id: str, *, close: bool) -> bytes:
    """The 200 that brings `content`, JSON. `common`: the server's own headers, which change once a second."""
    return b"%bcontent-length: %d\r\nx-request-id: %b\r\n%b%b\r\n%b" % (
        _head(tuple(common)),
        len(content),
        request_id.encode(),
        _HARDENED,
        b"connection: close\r\n" if close else b"",
        content,
    )


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


@lru_cache(maxsize=1)
def _head(common: Headers) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + _lines([*common, JSON])


_HARDENED: Final = _lines(HARDENED)
