"""What is noted about one request while it passes through the layers; read once, at the end."""

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from userip.scoring.dataplane import Facts
from userip.service.auth.api_keys import Key

_KEY = "userip.exchange"


@dataclass(slots=True)
class Exchange:
    """One request and its answer."""

    request_id: str
    started: float  # time.perf_counter()
    method: str
    route: str = "unmatched"  # the route's pattern, set when the request is done
    status: int = 0
    shed: str = ""  # why it was refused: in_flight, queue, bodies, deadline
    key: Key | None = None  # whose request it is, where keys are asked for
    refused: str = ""  # why its key was not enough: unauthorized, forbidden, rate_limited
    facts: Facts = field(default_factory=Facts)


def put_exchange(scope: MutableMapping[str, Any], exchange: Exchange) -> None:
    """Attach `exchange` to its request."""
    scope[_KEY] = exchange


def exchange_of(scope: MutableMapping[str, Any]) -> Exchange:
    """The exchange of the request with this ASGI scope."""
    exchange: Exchange = scope[_KEY]
    return exchange
