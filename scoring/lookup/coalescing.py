"""Bank reads of the same turn of the event loop become one: many requests, one round trip.

Requests that arrive together ask for their users in the same turn; what they ask for is sent when the turn ends.
Answers are handed out by user id, never by position, and every waiter has a future of its own: a request that is
cancelled or slow takes nothing from the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from userip.bank.protocol import Lookup

_MOST = 512  # users of one round trip: a reply of some ten kilobytes
Found = dict[str, Lookup]
GetMany = Callable[[str, Sequence[str]], Awaitable[list[Lookup]]]  # `AsyncReader.get_many`


@dataclass(slots=True)
class _Turn:
    """What was asked for since the last round trip was sent."""

    users: dict[str, None] = field(default_factory=dict)  # in order, each once
    waiting: list[asyncio.Future[Found]] = field(default_factory=list)


class CoalescingReader:
    """Puts the reads of one turn together. Not thread-safe: it belongs to one event loop."""

    def __init__(self, get_many: GetMany) -> None:
        self._get_many = get_many
        self._turns: dict[str, _Turn] = {}
        self._reading: set[asyncio.Task[None]] = set()

    async def find(self, release: str, user_ids: Sequence[str]) -> Found:
        """The records of `user_ids`, and perhaps of further users, by user id.

        Raises what `AsyncReader.get_many` raises.
        """
        loop = asyncio.get_running_loop()
        turn = self._turns.get(release)
        if turn is None:
            turn = self._turns[release] = _Turn()
            loop.call_soon(self._send, release, turn)
        turn.users.update(dict.fromkeys(user_ids))
        if len(turn.users) >= _MOST:
            del self._turns[release]  # the next one to ask begins another; this one is sent all the same
        future: asyncio.Future[Found] = loop.create_future()
        turn.waiting.append(future)
        return await future

    def _send(self, release: str, turn: _Turn) -> None:
        if self._turns.get(release) is turn:
            del self._turns[release]
        task = asyncio.get_running_loop().create_task(self._read(release, turn))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, release: str, turn: _Turn) -> None:
        users = list(turn.users)
        try:
            records = await self._get_many(release, users)
        except BaseException as error:
            for future in turn.waiting:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            if not isinstance(error, Exception):
                raise
            return
        found = dict(zip(users, records, strict=True))
        for future in turn.waiting:
            if not future.done():
                future.set_result(found)
