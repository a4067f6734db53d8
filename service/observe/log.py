"""Structured logs: one JSON object per line on standard error, from the service and from uvicorn alike.

Nothing is configured process-wide: `make_logger` gives a logger that is handed to whoever logs.
"""

import sys
from collections import Counter
from typing import Any, BinaryIO

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from userip.service.observe.request_record import RequestRecord
from userip.terminal import written_out

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def make_logger(level: str = "info", stream: BinaryIO | None = None) -> FilteringBoundLogger:
    """A logger that writes to `stream` (default: standard error) from `level` on."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.BytesLogger(stream or sys.stderr.buffer),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Text without local variables: these hold user ids and keys.
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return logger


def uvicorn_log_config(level: str) -> dict[str, Any]:
    """A `logging` configuration that makes uvicorn's own lines JSON too."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "userip.service.observe.log.JsonFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {"uvicorn": {"level": level.upper()}, "uvicorn.access": {"level": "CRITICAL"}},
    }


class AccessLog:
    """One line for some of the requests: evenly spread, `sample_rate` of them; a fault has one unless that is 0."""

    def __init__(self, log: FilteringBoundLogger, sample_rate: float) -> None:
        self._log = log
        self._sample_rate = sample_rate
        self._unlogged = 0.0

    def write(self, record: RequestRecord, seconds: float) -> None:
        """Write a line if it is this request's turn."""
        self._unlogged += self._sample_rate
        if self._unlogged < 1 and not (record.status == 500 and self._sample_rate):
            return
        self._unlogged %= 1
        outcomes = record.outcomes
        line: dict[str, Any] = {
            "request_id": record.request_id,
            "method": record.method,
            "route": record.route,
            "status": record.status,
            "ms": round(seconds * 1000, 3),
            "candidates": record.candidates,
            "profiles": outcomes if len(outcomes) < 2 else Counter(outcomes),
        }
        if record.key is not None:
            line["key"] = record.key.id
        if record.refused:
            line["refused"] = record.refused
        self._log.info("request", **line, **{counter.field: value for counter, value in record.counted()})


class JsonFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders records of the standard library's `logging` as our own lines."""

    def __init__(self) -> None:
        super().__init__(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=lambda event, **_: _dumps(event).decode()),
            ],
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                _only_own_keys,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
            ],
        )


def _only_own_keys(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)
    return event


def _dumps(event: object, **_: object) -> bytes:
    line = orjson.dumps(event, default=repr)
    # orjson writes out what is below a space; DEL and what is not ASCII may act on a terminal as well.
    return line if line.isascii() and b"\x7f" not in line else written_out(line.decode()).encode()
