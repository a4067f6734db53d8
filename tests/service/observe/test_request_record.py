"""One record, three readers: a counter is declared once, and metrics, access log and traces show it."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from userip.scoring.request_stats import Counter, counter, counters, reason
from userip.service.observe.log import AccessLog, make_logger
from userip.service.observe.metrics import Metrics
from userip.service.observe.request_record import RequestRecord
from userip.service.observe.tracing import Tracing


@dataclass(slots=True, kw_only=True, eq=False)
class MoreNoted(RequestRecord):
    """What a change that adds counters would add: these lines, and whoever counts."""

    retries: int = counter("Bank reads that were tried again.")
    jokes_good: int = counter("Jokes.", "jokes", quality="good")
    jokes_bad: int = counter("Jokes.", "jokes", quality="bad")
    mood: str = reason("Moods of the bank.", "moods", "mood")


@contextmanager
def readers(kind: type[RequestRecord]) -> Iterator[Any]:
    """`show(record)` gives what metrics, access log and trace say of it."""
    log, exporter, metrics = io.BytesIO(), InMemorySpanExporter(), Metrics(kind=kind)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(provider, 1.0)

    def show(record: RequestRecord) -> tuple[str, dict[str, Any], dict[str, Any]]:
        metrics.entered()
        metrics.observe(record, 0.001)
        AccessLog(make_logger(stream=log), 1).write(record, 0.001)
        tracing.trace([], record, 0.001)
        span = exporter.get_finished_spans()[-1]
        return metrics.render().decode(), json.loads(log.getvalue().splitlines()[-1]), dict(span.attributes or {})

    yield show
    provider.shutdown()


def line(each: Counter, value: object) -> str:
    """The sample that the metrics have of a counter."""
    if each.label is None:
        return f"userip_{each.metric}_total {value}.0"
    if each.value is None:
        return f'userip_{each.metric}_total{{{each.label}="{value}"}} 1.0'
    return f'userip_{each.metric}_total{{{each.label}="{each.value}"}} {value}.0'


@pytest.mark.parametrize("kind", [RequestRecord, MoreNoted])
def test_every_counter_is_in_metrics_log_and_trace(kind: type[RequestRecord]) -> None:
    """Each declared field, those of a record that declares more too, with its number, and not at all without one."""
    with readers(kind) as show:
        for number, each in enumerate(counters(kind), start=3):
            value = "word" if each.value is None and each.label is not None else number
            record = kind(request_id="r", started=0.0, method="POST", status=200)
            _, line_before, span_before = show(record)
            setattr(record, each.field, value)
            text, logged, traced = show(record)
            assert line(each, value) in text
            assert f"# HELP userip_{each.metric}_total {each.text}" in text
            assert logged[each.field] == traced[f"userip.{each.field}"] == value
            assert each.field not in line_before
            assert f"userip.{each.field}" not in span_before
