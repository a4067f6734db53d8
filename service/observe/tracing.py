"""Spans for an OpenTelemetry collector: the request, and its stages below it. Off unless an endpoint is set.

A span is made when its request is done, from what the record noted for the metrics anyway: an untraced service
pays one comparison a request, and a traced one nothing before the answer is sent. No span holds a user id, an item
id or a path. The caller's `traceparent` is honoured: its trace is continued, with its sampling decision.
"""

import random
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from userip.service.errors import StartError
from userip.service.observe.request_record import RequestRecord
from userip.service.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer
    from opentelemetry.util.types import AttributeValue

Headers = Iterable[tuple[bytes, bytes]]
Trace = Callable[[Headers, RequestRecord, float], None]  # the request's headers, what happened, the seconds it took

_STAGES: Final = ("queue", "decode", "lookup", "score", "encode")  # in this order, one right after the other
_CONTEXT: Final = (b"traceparent", b"tracestate")
_EXPORT_TIMEOUT_S: Final = 5
_TRACES: Final = "/v1/traces"


class Tracing:
    """The spans of one worker, sent in the background in batches; those that find the queue full are dropped."""

    def __init__(self, provider: "TracerProvider", sample_rate: float) -> None:
        from opentelemetry.trace import SpanKind, StatusCode, get_current_span, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._sample_rate = sample_rate
        self._caller = get_current_span
        self._tracer: Tracer = provider.get_tracer("userip")
        self._extract = TraceContextTextMapPropagator().extract
        self._below = set_span_in_context
        self._server, self._error = SpanKind.SERVER, StatusCode.ERROR

    def trace(self, headers: Headers, record: RequestRecord, seconds: float) -> None:
        """Make the spans of a request that just ended."""
        end, ended = time.time_ns(), time.perf_counter()
        parent = None
        if carrier := {name.decode(): value.decode("latin-1") for name, value in headers if name in _CONTEXT}:
            parent = self._extract(carrier)
        # Before anything is built: most requests are not traced.
        if not self._caller(parent).get_span_context().is_valid and random.random() >= self._sample_rate:  # noqa: S311
            return
        span = self._tracer.start_span(
            f"{record.method} {record.route}",
            context=parent,
            kind=self._server,
            attributes=_attributes(record),
            start_time=end - int(seconds * 1e9),
        )
        if not span.is_recording():
            return
        if record.status >= 500:
            span.set_status(self._error)
        context = self._below(span)
        moment = end - int((ended - record.encoded) * 1e9) if record.encoded else end
        for name in reversed(_STAGES):
            if (took := record.stages.get(name)) is not None:
                child = self._tracer.start_span(name, context=context, start_time=moment - int(took * 1e9))
                child.end(moment)
                moment -= int(took * 1e9)
        span.end(end)

    def stop(self) -> None:
        """Send what is still queued; blocks for some seconds at most."""
        self._provider.shutdown()


def make_tracing(settings: Settings) -> Tracing | None:
    """Tracing as it is set, None when it is off. Raises StartError when its libraries are not installed."""
    if settings.tracing_endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
    except ModuleNotFoundError as error:
        raise StartError(
            f"setting tracing_endpoint needs {error.name}: pip install 'userip[tracing]', or remove it"
        ) from None
    endpoint = settings.tracing_endpoint.rstrip("/")
    if endpoint.count("/") == 2:  # a host without a path
        endpoint += _TRACES
    provider = TracerProvider(
        sampler=ParentBased(ALWAYS_ON),
        resource=Resource.create({"service.name": "userip"}),
        shutdown_on_exit=False,  # the application ends it, after the last request
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_TIMEOUT_S)))
    return Tracing(provider, settings.tracing_sample_rate)


def _attributes(record: RequestRecord) -> "dict[str, AttributeValue]":
    attributes: dict[str, AttributeValue] = {
        "http.request.method": record.method,
        "http.route": record.route,
        "http.response.status_code": record.status,
        "userip.request_id": record.request_id,
    }
    noted: dict[str, AttributeValue] = {
        "release": record.release,
        "profiles": list(record.outcomes),
        "candidates": record.candidates,
        **{counter.field: value for counter, value in record.counted()},
    }
    return attributes | {f"userip.{name}": value for name, value in noted.items() if value}
