"""Writing the buckets of a release into Redis: one HSET each, some thousand users per round trip.

In a release every field has the same length, and so has every record. Over the wire (RESP) a user therefore has a
fixed width, and one array holds thousands of them without a Python object per user:

    $5 CRLF field CRLF $13 CRLF record CRLF        13: the bytes of a record, here with 2 codes

A server gets these bytes as they are. A cluster, where every bucket may live on another node, gets the same
commands through redis-py's pipeline, which knows the nodes.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray
from redis.exceptions import ResponseError

from userip.bank.backends.redis.client import Pipeline, SyncClient
from userip.bank.batch import Batch


@dataclass(frozen=True, slots=True)
class Flush:
    """The buckets of one round trip: m users in the buckets `keys`, cut at `edges` (the last one is m)."""

    keys: list[bytes]
    edges: list[int]
    fields: NDArray[np.void]
    records: NDArray[np.void]
    written: int  # users of the release that are stored when this one is

    def packed(self) -> bytes:
        """The HSET commands as they go over the wire."""
        users = _on_the_wire(self.fields, self.records)
        width = len(users) // len(self.fields)
        parts: list[bytes | memoryview] = []
        for key, start, end in zip(self.keys, self.edges, self.edges[1:], strict=False):
            parts.append(b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%b\r\n" % (2 + 2 * (end - start), len(key), key))
            parts.append(users[width * start : width * end])
        return b"".join(parts)

    def piped(self, pipe: Pipeline) -> Pipeline:
        """`pipe` with the same commands."""
        pairs: list[bytes] = [b""] * (2 * len(self.fields))
        pairs[0::2], pairs[1::2] = self.fields.tolist(), self.records.tolist()
        for key, start, end in zip(self.keys, self.edges, self.edges[1:], strict=False):
            pipe.hset(key, items=pairs[2 * start : 2 * end])
        return pipe


def write_buckets(client: SyncClient, prefix: bytes, batch: Batch, users_per_flush: int) -> Generator[int]:
    """Write `batch` under keys that begin with `prefix`; after each round trip yield how many users are stored.

    Nothing is on its way to the server while the caller has the turn. Raises redis-py's errors; close the iterator
    (`contextlib.closing`) to leave early.
    """
    flushes = _cut(prefix, batch, users_per_flush)
    if isinstance(client, redis.Redis):
        yield from _write_packed(client, flushes)
    else:
        for flush in flushes:
            run(flush.piped(client.pipeline(transaction=False)))  # type: ignore[no-untyped-call]
            yield flush.written


def run(pipe: Pipeline) -> list[Any]:
    """Send a pipeline; raise its first error as it is, without the command that redis-py would add."""
    answers: list[Any] = pipe.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _cut(prefix: bytes, batch: Batch, users_per_flush: int) -> Iterator[Flush]:
    """Whole buckets, at most `users_per_flush` users at a time, or one bucket that alone has more."""
    buckets, starts = batch.bucket_starts()
    first = 0
    while first < len(buckets):
        last = int(np.searchsorted(starts, starts[first] + users_per_flush, side="right")) - 1
        last = max(last, first + 1)
        users = slice(int(starts[first]), int(starts[last]))
        yield Flush(
            keys=[prefix + b"%x" % number for number in buckets[first:last].tolist()],
            edges=(starts[first : last + 1] - starts[first]).tolist(),
            fields=batch.fields(users),
            records=batch.records(users),
            written=users.stop,
        )
        first = last


def _write_packed(client: redis.Redis, flushes: Iterator[Flush]) -> Iterator[int]:
    """Write over one connection; the next flush is packed while the server works on this one."""
    packed = ((flush.packed(), len(flush.keys), flush.written) for flush in flushes)
    connection: Any = client.connection_pool.get_connection()  # redis-py's connections are not typed
    on_its_way = False
    try:
        ahead = next(packed, None)
        while ahead is not None:
            data, replies, written = ahead
            on_its_way = True
            connection.send_packed_command([data], check_health=False)
            ahead = next(packed, None)
            # All replies first: a command that is still to come must not write behind an error's clean-up.
            errors = [error for _ in range(replies) if (error := _read_error(connection)) is not None]
            on_its_way = False
            if errors:
                raise errors[0]
            yield written
    finally:
        if on_its_way:  # a reply that comes late must not answer another command
            connection.disconnect()
        client.connection_pool.release(connection)


def _read_error(connection: Any) -> ResponseError | None:  # noqa: ANN401  (as above)
    try:
        connection.read_response()
    except ResponseError as error:
        return error
    return None


def _on_the_wire(fields: NDArray[np.void], records: NDArray[np.void]) -> memoryview:
    """n fields and n records as bulk strings, field and record in turn: n * width bytes."""
    before = b"$%d\r\n" % fields.itemsize
    between = b"\r\n$%d\r\n" % records.itemsize
    user = np.dtype(
        [
            ("before", f"S{len(before)}"),
            ("field", fields.dtype),
            ("between", f"S{len(between)}"),
            ("record", records.dtype),
            ("after", "S2"),
        ]
    )
    wire = np.empty(len(fields), dtype=user)
    wire["before"], wire["between"], wire["after"] = before, between, b"\r\n"
    wire["field"], wire["record"] = fields, records
    return wire.view(np.uint8).data
