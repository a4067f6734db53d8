"""What `/metrics` says after known requests."""

import importlib.metadata
import io
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from tests.fixtures.serving import Serve
from tests.fixtures.tiny_release import TinyRelease
from userip.service.observe.metrics import Metrics
from userip.service.observe.metrics_files import remove_old
from userip.service.observe.request_record import RequestRecord

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def values(client: TestClient) -> Values:
    """Every sample by name and sorted labels, read by the client library's own parser."""
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_request_is_counted_once_with_what_it_met(client: TestClient) -> None:
    """Requests by route and status, profiles by outcome, candidates, unknown items and context values."""
    client.post("/score", json={"user_id": "u1", "item_ids": ["plain", "never"], "context": {"device": "new"}})
    client.post("/score", json={"user_id": "nobody", "item_ids": []})
    client.post("/score", json={"user_id": 3})
    pair = [{"user_id": "u1", "item_ids": ["i5"]}, {"user_id": "x", "item_ids": ["i6", "i7"]}]
    client.post("/score/batch", json={"requests": pair})
    client.get("/profile/u2")
    client.get("/nothing")
    found = values(client)

    def requests(route: str, method: str, status: int) -> float:
        labels = (("method", method), ("route", route), ("status", str(status)))
        return found["userip_http_requests_total", labels]

    assert requests("/score", "POST", 200) == 2
    assert requests("/score", "POST", 422) == 1
    assert requests("/score/batch", "POST", 200) == 1
    assert requests("/profile/{user_id}", "GET", 200) == 1
    assert requests("unmatched", "GET", 404) == 1
    assert found["userip_profile_lookups_total", (("outcome", "known"),)] == 3
    assert found["userip_profile_lookups_total", (("outcome", "default"),)] == 2
    assert found["userip_unknown_items_total", ()] == 1
    assert found["userip_unknown_context_values_total", ()] == 1
    assert found["userip_candidates_sum", ()] == 5
    assert found["userip_stage_duration_seconds_count", (("stage", "lookup"),)] == 4
    assert found["userip_stage_duration_seconds_count", (("stage", "decode"),)] == 3  # one body was refused
    assert found["userip_stage_duration_seconds_count", (("stage", "encode"),)] == 3
    assert found["userip_cache_lookups_total", (("result", "miss"),)] == 4
    assert found["userip_cache_lookups_total", (("result", "hit"),)] == 1
    took = "userip_http_request_duration_seconds_count"
    assert found[took, (("outcome", "ok"), ("route", "/score"))] == 2
    assert found[took, (("outcome", "refused"), ("route", "/score"))] == 1
    assert found["userip_in_flight", ()] == 1  # the request that asks


def test_buckets_reach_below_a_millisecond(client: TestClient) -> None:
    """The first bucket of request times ends at 100 microseconds."""
    client.get("/healthz")
    bounds = [
        float(dict(labels)["le"])
        for (name, labels) in values(client)
        if name == "userip_http_request_duration_seconds_bucket"
    ]
    assert min(bounds) == pytest.approx(0.0001)
    assert sum(bound <= 0.001 for bound in set(bounds)) >= 5


def test_failures_of_the_bank_are_counted_by_reason(serve: Serve) -> None:
    """A bank that refuses connections shows as such, and so do the profiles."""
    client = serve("redis://127.0.0.1:1")
    client.post("/score", json={"user_id": "u1", "item_ids": ["plain"]})
    found = values(client)
    assert found["userip_bank_failures_total", (("reason", "unavailable"),)] == 1
    assert found["userip_profile_lookups_total", (("outcome", "unavailable"),)] == 1


def test_odd_methods_and_paths_do_not_make_new_series(client: TestClient) -> None:
    """A client cannot grow the registry: unknown paths share one label, unknown methods another."""
    for i in range(5):
        client.request(f"BREW{i}", f"/pot/{i}")
    routes = {labels for (name, labels) in values(client) if name == "userip_http_requests_total"}
    assert {(dict(labels)["method"], dict(labels)["route"]) for labels in routes} == {("other", "unmatched")}


def test_release_and_build_are_told(client: TestClient, tiny: TinyRelease) -> None:
    """The served release with the times of its export and of its loading, and the version of the program."""
    found = values(client)
    manifest = json.loads((tiny.path / "manifest.json").read_text())
    created = found["userip_release_created_timestamp_seconds", (("release", tiny.name),)]
    assert datetime.fromtimestamp(created, UTC) == datetime.fromisoformat(manifest["created"])
    loaded = found["userip_release_loaded_timestamp_seconds", (("release", tiny.name),)]
    assert 0 <= time.time() - loaded < 600
    assert found["userip_build_info", (("version", importlib.metadata.version("userip")),)] == 1


@pytest.mark.parametrize(
    ("created", "seconds"), [("1970-01-01T01:01:40+01:00", 100.0), ("1970-01-01T00:01:00", 60.0), ("soon", None)]
)
def test_age_of_a_release_needs_a_time(created: str, seconds: float | None) -> None:
    """A time without a zone is UTC; a release that names no time is served all the same, without an age."""
    metrics = Metrics()
    metrics.serving("r", 1.0, created)
    text = metrics.render().decode()
    line = 'userip_release_created_timestamp_seconds{release="r"} '
    assert f"{line}{seconds}" in text if seconds else line not in text
    assert 'userip_release_loaded_timestamp_seconds{release="r"} 1.0' in text


@pytest.mark.parametrize("seed", [0, 1])
def test_workers_add_up(tmp_path: Path, seed: int) -> None:
    """Any worker answers for all: counters, gauges and every bucket of every histogram are the workers' sums."""
    rng = random.Random(seed)
    workers = [Metrics(tmp_path) for _ in range(3)]
    for number, metrics in enumerate(workers):  # in one process all would share one file
        assert metrics._files is not None
        metrics._files._path = tmp_path / f"metrics-{number}.json"
    seconds = [rng.choice([0.0001, 0.00012, 0.004, 9.0]) for _ in range(60)]
    for took in seconds:
        metrics = rng.choice(workers)
        metrics.entered()
        record = RequestRecord(request_id="", started=0.0, method="POST", route="/score", status=200)
        record.stages["score"] = took
        record.outcomes = ["known"]
        metrics.observe(record, took)
    workers[2].entered()
    for metrics in workers:
        metrics.share()
    answers = [metrics.render() for metrics in workers]
    # Each has its own process's view of the sums; floats are added in another order.
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answers[0].decode())
        for sample in family.samples
    }
    assert all(len(answer.splitlines()) == len(answers[0].splitlines()) for answer in answers)
    for name, labels in (
        ("userip_http_request_duration_seconds", {"route": "/score", "outcome": "ok"}),
        ("userip_stage_duration_seconds", {"stage": "score"}),
    ):
        key = tuple(sorted(labels.items()))
        for bound in (0.0001, 0.00015, 0.003, 0.005, 2.5):
            cell = tuple(sorted((labels | {"le": str(bound)}).items()))
            assert found[f"{name}_bucket", cell] == sum(took <= bound for took in seconds)
        assert found[f"{name}_bucket", tuple(sorted((labels | {"le": "+Inf"}).items()))] == 60
        assert found[f"{name}_count", key] == 60
        assert found[f"{name}_sum", key] == pytest.approx(sum(seconds))
    assert found["userip_profile_lookups_total", (("outcome", "known"),)] == 60
    assert found["userip_in_flight", ()] == 1
    assert found["userip_workers", ()] == 3


@pytest.mark.parametrize("content", [None, b"", b'{"pid": 1, "bo', b'{"pid": "\xff"}', b"{}"])
def test_a_file_that_cannot_be_read_fails_no_scrape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    """Gone since it was found (None), or no whole file: the other workers are answered for all the same."""
    there, harmed = Metrics(tmp_path), tmp_path / "metrics-0.json"
    assert there._files is not None
    there._files._path = tmp_path / "metrics-1.json"
    there.reloaded(ok=True)
    there.share()
    harmed.write_bytes(content or b"")
    read = Path.read_bytes

    def away(path: Path) -> bytes:
        if content is None:
            harmed.unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", away)
    assert 'userip_reloads_total{outcome="done"} 1.0' in Metrics(tmp_path).render().decode()


def test_old_files_may_go_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two services that start in one directory remove what lies there together; neither fails."""
    for number in range(3):
        (tmp_path / f"metrics-{number}.json").write_bytes(b"")
    find = Path.glob

    def found_then_gone(directory: Path, pattern: str) -> list[Path]:
        found = list(find(directory, pattern))
        found[0].unlink()
        return found

    monkeypatch.setattr(Path, "glob", found_then_gone)
    remove_old(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_worker_shares_again_after_it_could_not(serve: Serve, lmdb_url: str, tmp_path: Path, log: io.BytesIO) -> None:
    """While the directory is away the log says so once; when it is back, the worker's counts are, too."""
    shared = tmp_path / "shared"
    shared.mkdir()
    serve(lmdb_url, runtime_dir=shared)

    def until(holds: Callable[[], bool]) -> None:
        begun = time.monotonic()
        while not holds():
            assert time.monotonic() - begun < 10
            time.sleep(0.02)

    until(lambda: any(shared.glob("metrics-*.json")))
    shared.rename(tmp_path / "away")
    until(lambda: b"metrics could not be shared" in log.getvalue())
    shared.mkdir()
    until(lambda: any(shared.glob("metrics-*.json")))
    assert log.getvalue().count(b"metrics could not be shared") == 1


def test_two_applications_keep_apart(serve: Serve, lmdb_url: str) -> None:
    """Each application has its own registry."""
    first, second = serve(lmdb_url), serve(lmdb_url)
    first.get("/healthz")
    health = ("userip_http_requests_total", (("method", "GET"), ("route", "/healthz"), ("status", "200")))
    assert values(first)[health] == 1
    assert health not in values(second)


def test_metrics_are_rendered_once_a_second_for_whoever_asks_on_and_on() -> None:
    """Ten times the text is made anew, then the last one comes again, until a second has passed."""
    metrics = Metrics()
    for asked in range(10):
        metrics.connection_refused()
        assert f"userip_connections_refused_total {asked + 1}.0" in metrics.recent(5.0).decode()
    metrics.connection_refused()
    assert b"userip_connections_refused_total 10.0" in metrics.recent(5.9)
    assert b"userip_connections_refused_total 11.0" in metrics.recent(6.0)
    metrics.connection_refused()
    assert b"userip_connections_refused_total 11.0" in metrics.recent(6.5)
