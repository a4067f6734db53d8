"""Reading bodies: bounded in their bytes, each and together."""

from starlette.types import Message, Receive

from userip.service.errors import BodyTooLargeError, OverloadedError


class Bodies:
    """Reads bodies of at most `largest` bytes. Those that are still coming take at most `together` of them."""

    def __init__(self, largest: int, together: int) -> None:
        self._largest, self._together = largest, together
        self._coming = 0

    async def read(self, receive: Receive) -> bytes | None:
        """The whole body, or None when the client left before it was sent. Raises BodyTooLargeError for one that comes
        in pieces, as it grows too large."""
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            return body
        return await self._read_pieces(message, receive)

    async def _read_pieces(self, message: Message, receive: Receive) -> bytes | None:
        """The same for a body that is still coming. Bodies that come slowly, or never end, are bounded by the deadline
        and in their bytes together; they hold no place of the requests at work."""
        body = bytearray()
        try:
            while message["type"] == "http.request":
                piece = message.get("body", b"")
                body += piece
                self._coming += len(piece)
                if len(body) > self._largest:
                    raise BodyTooLargeError(self._largest)
                if not message.get("more_body", False):
                    return bytes(body)
                if self._coming > self._together:
                    raise OverloadedError("bodies")
                message = await receive()
            return None
        finally:
            self._coming -= len(body)
