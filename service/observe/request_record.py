"""The one record of a request: filled on its way through the layers, read at its end by metrics, access log and traces.

What scoring notes is in `scoring.request_stats`, which also says how a counter is added.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from userip.scoring.request_stats import RequestStats, reason
from userip.service.auth.api_keys import Key

RECORD: Final = "userip.record"  # the key in the ASGI scope


@dataclass(slots=True, kw_only=True, eq=False)
class RequestRecord(RequestStats):
    """One request and its answer."""

    request_id: str
    started: float  # time.perf_counter()
    method: str
    route: str = "unmatched"  # the route's pattern, set when the request is done
    status: int = 0
    key: Key | None = None  # whose request it is, where keys are asked for
    refused: str = ""  # why its key was not enough: unauthorized, forbidden, rate_limited
    shed: str = reason(
        "Requests refused or given up under overload (load shedding): in_flight, queue, bodies, deadline.",
        "shed",
        "reason",
    )


def record_of(scope: MutableMapping[str, Any]) -> RequestRecord:
    """The record of the request with this ASGI scope."""
    record: RequestRecord = scope[RECORD]
    return record
