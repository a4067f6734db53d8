"""Spans, as a collector receives them: OTLP over HTTP, read with the protocol's own messages."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.testclient import TestClient

from tests.fixtures.process import environment
from tests.fixtures.serving import Serve
from tests.fixtures.tiny_release import TinyRelease
from userip.service.app import create_app
from userip.service.settings import load_settings

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Collector:
    """A collector on a free port that keeps what it is sent."""

    def __init__(self) -> None:
        received: list[tuple[str, bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.received = received
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self) -> list[Span]:
        """Every span received."""
        assert {path for path, _ in self.received} <= {"/v1/traces"}
        messages = [ExportTraceServiceRequest.FromString(body) for _, body in self.received]
        groups = [group for message in messages for group in message.resource_spans]
        return [span for group in groups for scope in group.scope_spans for span in scope.spans]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def traced(serve: Serve, bank: str, collector: Collector, requests: list[tuple[str, str, Any, str]]) -> list[Span]:
    """The spans of requests (method, path, body, traceparent), after the service has ended."""
    client: TestClient = serve(bank, tracing_endpoint=collector.url, tracing_sample_rate=1)
    for method, path, body, parent in requests:
        client.request(method, path, json=body, headers={"traceparent": parent} if parent else {})
    client.__exit__()  # ends the application, which sends the rest
    return collector.spans()


def _value(span: Span, name: str) -> object:
    (found,) = [attribute.value for attribute in span.attributes if attribute.key == name]
    kind = found.WhichOneof("value")
    assert kind is not None
    return [item.string_value for item in found.array_value.values] if kind == "array_value" else getattr(found, kind)


def test_request_and_its_stages_are_spans_of_the_callers_trace(
    serve: Serve, lmdb_url: str, collector: Collector, tiny: TinyRelease
) -> None:
    """One span for the request, below the caller's; one for each stage, below it, in order and inside its time."""
    body = {"user_id": "u1", "item_ids": ["plain", "never"]}
    spans = traced(serve, lmdb_url, collector, [("POST", "/score", body, SAMPLED)])
    (request,) = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    stages = sorted((span for span in spans if span is not request), key=lambda span: span.start_time_unix_nano)
    assert request.name == "POST /score"
    assert request.trace_id.hex() == SAMPLED[3:35]
    assert request.parent_span_id.hex() == SAMPLED[36:52]
    assert [span.name for span in stages] == ["decode", "lookup", "score", "encode"]
    assert {(span.trace_id, span.parent_span_id) for span in stages} == {(request.trace_id, request.span_id)}
    moments = [moment for span in stages for moment in (span.start_time_unix_nano, span.end_time_unix_nano)]
    assert moments == sorted(moments)
    assert request.start_time_unix_nano <= moments[0]
    assert moments[-1] <= request.end_time_unix_nano
    assert _value(request, "http.route") == "/score"
    assert _value(request, "http.response.status_code") == 200
    assert _value(request, "userip.release") == tiny.name
    assert _value(request, "userip.profiles") == ["known"]
    assert _value(request, "userip.candidates") == 2
    assert _value(request, "userip.unknown_items") == 1


def test_caller_decides_what_is_sampled(serve: Serve, lmdb_url: str, collector: Collector) -> None:
    """A `traceparent` that says no is obeyed; a broken one is as none, and starts a trace of its own."""
    body = {"user_id": "u1", "item_ids": ["plain"]}
    parents = [NOT_SAMPLED, "00-nonsense-01", ""]
    spans = traced(serve, lmdb_url, collector, [("POST", "/score", body, parent) for parent in parents])
    requests = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    assert len(requests) == len({span.trace_id for span in requests}) == 2
    assert {span.parent_span_id for span in requests} == {b""}


def test_spans_hold_no_user(serve: Serve, lmdb_url: str, collector: Collector) -> None:
    """Neither a user id, nor an item id, nor the path that holds one leaves the process; faults are marked."""
    secret = "somebody-secret"
    requests = [
        ("POST", "/score", {"user_id": secret, "item_ids": [secret]}, ""),
        ("GET", f"/profile/{secret}", None, ""),
        ("GET", f"/{secret}", None, ""),
        ("POST", "/score", {"user_id": secret}, ""),
    ]
    spans = traced(serve, lmdb_url, collector, requests)
    names = sorted(span.name for span in spans if span.kind == Span.SPAN_KIND_SERVER)
    assert names == ["GET /profile/{user_id}", "GET unmatched", "POST /score", "POST /score"]
    assert all(secret.encode() not in body for _, body in collector.received)


def test_failures_are_marked(serve: Serve, collector: Collector) -> None:
    """A 5xx answer marks its span as an error; what the bank did is told."""
    requests = [("GET", "/profile/u1", None, ""), ("POST", "/score", {"user_id": "u", "item_ids": []}, "")]
    spans = traced(serve, "redis://127.0.0.1:1", collector, requests)
    profile, score = (span for span in spans if span.kind == Span.SPAN_KIND_SERVER)
    assert (profile.status.code, score.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert _value(score, "userip.bank_failure") == "unavailable"
    assert _value(score, "userip.profiles") == ["unavailable"]


def test_nothing_is_loaded_or_sent_when_off(tiny: TinyRelease, lmdb_url: str) -> None:
    """Without an endpoint nothing that traces is imported; the framework's own telemetry stays off, whatever is set."""
    code = (
        "import sys; from userip.service.app import create_app; from userip.service.settings import load_settings;"
        "app = create_app(load_settings({}));"
        "assert app._trace is None; assert not app.app._native_telemetry.enabled();"
        "heavy = ('opentelemetry.sdk.trace', 'opentelemetry.exporter');"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    settings = {
        "USERIP_RELEASE_DIR": str(tiny.path),
        "USERIP_BANK_URL": lmdb_url,
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(settings), capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_missing_library_names_the_extra(tiny: TinyRelease, lmdb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint without the libraries stops the start, with the extra to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    flags = {"release_dir": tiny.path, "bank_url": lmdb_url, "tracing_endpoint": "http://collector:4318"}
    with pytest.raises(Exception, match=r"pip install 'userip\[tracing\]'") as refused:
        create_app(load_settings(flags))
    assert getattr(refused.value, "exit_code", None) == 2


@pytest.mark.parametrize("endpoint", ["collector:4318", "http://user:secret@collector", "ftp://collector", "http://"])
def test_endpoint_is_an_http_url_without_a_password(tiny: TinyRelease, lmdb_url: str, endpoint: str) -> None:
    """What is no such URL is refused with the setting's name; a login goes into OTEL_EXPORTER_OTLP_HEADERS."""
    flags = {"release_dir": tiny.path, "bank_url": lmdb_url, "tracing_endpoint": endpoint}
    with pytest.raises(Exception, match="setting tracing_endpoint") as refused:
        load_settings(flags)
    assert "secret" not in str(refused.value)


def test_share_is_of_the_requests_that_nobody_asked_to_trace(serve: Serve, lmdb_url: str, collector: Collector) -> None:
    """With a share of 0 only those are traced whose caller says so."""
    client = serve(lmdb_url, tracing_endpoint=collector.url, tracing_sample_rate=0)
    for parent in ({}, {"traceparent": SAMPLED}, {"traceparent": NOT_SAMPLED}, {"traceparent": "nonsense"}):
        client.post("/score", json={"user_id": "u1", "item_ids": []}, headers=parent)
    client.__exit__()
    requests = [span for span in collector.spans() if span.kind == Span.SPAN_KIND_SERVER]
    assert [span.trace_id.hex() for span in requests] == [SAMPLED[3:35]]
