"""What `/metrics` says after known requests."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from tests.service.conftest import Serve

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
    assert found["userip_profiles_total", (("outcome", "known"),)] == 3
    assert found["userip_profiles_total", (("outcome", "default"),)] == 2
    assert found["userip_unknown_items_total", ()] == 1
    assert found["userip_unknown_context_values_total", ()] == 1
    assert found["userip_candidates_sum", ()] == 5
    assert found["userip_stage_seconds_count", (("stage", "lookup"),)] == 4
    assert found["userip_stage_seconds_count", (("stage", "decode"),)] == 3  # one body was refused
    assert found["userip_stage_seconds_count", (("stage", "encode"),)] == 3
    assert found["userip_cache_lookups_total", (("result", "miss"),)] == 4
    assert found["userip_cache_lookups_total", (("result", "hit"),)] == 1
    assert found["userip_http_request_seconds_count", (("route", "/score"),)] == 3
    assert found["userip_in_flight", ()] == 1  # the request that asks


def test_buckets_reach_below_a_millisecond(client: TestClient) -> None:
    """The first bucket of request times ends at 100 microseconds."""
    client.get("/healthz")
    bounds = [
        float(dict(labels)["le"]) for (name, labels) in values(client) if name == "userip_http_request_seconds_bucket"
    ]
    assert min(bounds) == pytest.approx(0.0001)
    assert sum(bound <= 0.001 for bound in set(bounds)) >= 5


def test_failures_of_the_bank_are_counted_by_reason(serve: Serve) -> None:
    """A bank that refuses connections shows as such, and so do the profiles."""
    client = serve("redis://127.0.0.1:1")
    client.post("/score", json={"user_id": "u1", "item_ids": ["plain"]})
    found = values(client)
    assert found["userip_bank_failures_total", (("reason", "unavailable"),)] == 1
    assert found["userip_profiles_total", (("outcome", "unavailable"),)] == 1


def test_odd_methods_and_paths_do_not_make_new_series(client: TestClient) -> None:
    """A client cannot grow the registry: unknown paths share one label, unknown methods another."""
    for i in range(5):
        client.request(f"BREW{i}", f"/pot/{i}")
    routes = {labels for (name, labels) in values(client) if name == "userip_http_requests_total"}
    assert {(dict(labels)["method"], dict(labels)["route"]) for labels in routes} == {("other", "unmatched")}


def test_two_applications_keep_apart(serve: Serve, lmdb_url: str) -> None:
    """Each application has its own registry."""
    first, second = serve(lmdb_url), serve(lmdb_url)
    first.get("/healthz")
    health = ("userip_http_requests_total", (("method", "GET"), ("route", "/healthz"), ("status", "200")))
    assert values(first)[health] == 1
    assert health not in values(second)
