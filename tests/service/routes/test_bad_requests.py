"""What a client is told when its request cannot be used. Nothing here reaches the bank or the graph."""

import json
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.fixtures.serving import Serve

GOOD = {"user_id": "u1", "item_ids": ["plain"]}


@pytest.fixture
def small(serve: Serve, lmdb_url: str) -> TestClient:
    """The application with limits that a test can reach."""
    return serve(lmdb_url, max_candidates=3, max_batch=2, max_id_length=8, max_body_bytes=400)


INVALID = [
    ({"item_ids": ["a"]}, "user_id", "missing"),
    ({"user_id": "u1"}, "item_ids", "missing"),
    (GOOD | {"extra": 1}, "extra", "no such field"),
    (GOOD | {"user_id": 1}, "user_id", "expected str, got int"),
    (GOOD | {"user_id": None}, "user_id", "expected str, got null"),
    (GOOD | {"user_id": ""}, "user_id", "expected str of length >= 1"),
    (GOOD | {"user_id": "123456789"}, "user_id", "expected str of length <= 8"),
    (GOOD | {"user_id": "a\x00b"}, "user_id", "must not contain NUL"),
    (GOOD | {"item_ids": "plain"}, "item_ids", "expected array, got str"),
    (GOOD | {"item_ids": ["a", 2]}, "item_ids[1]", "expected str, got int"),
    (GOOD | {"item_ids": ["a", ""]}, "item_ids[1]", "expected str of length >= 1"),
    (GOOD | {"item_ids": ["a", "b", "123456789"]}, "item_ids[2]", "expected str of length <= 8"),
    (GOOD | {"item_ids": ["a", "b\x00"]}, "item_ids[1]", "must not contain NUL"),
    (GOOD | {"item_ids": ["a", "b", "c", "d"]}, "item_ids", "expected array of length <= 3"),
    (GOOD | {"context": "tv"}, "context", "expected object | null, got str"),
    (GOOD | {"context": {"device": 3}}, "context[...]", "expected str, got int"),
    (GOOD | {"context": {"device": "\x00"}}, "context.device", "must not contain NUL"),
    (GOOD | {"context": {"planet": "x"}}, "context.planet", "no such context field; the release has device"),
    ([], "body", "expected object, got array"),
    (3, "body", "expected object, got int"),
]


@pytest.mark.parametrize(("body", "field", "problem"), INVALID)
def test_invalid_field_is_named(small: TestClient, body: object, field: str, problem: str) -> None:
    """A body of valid JSON with a field that cannot be used gets 422, the field and what is wrong with it."""
    response = small.post("/score", json=body)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == "urn:userip:problem:invalid-request"
    assert document["status"] == 422
    assert document["errors"] == [{"field": field, "problem": problem}]
    assert document["request_id"] == response.headers["x-request-id"]


BATCH_INVALID = [
    ({}, "requests"),
    ({"requests": GOOD}, "requests"),
    ({"requests": [GOOD] * 3}, "requests"),
    ({"requests": [GOOD, GOOD | {"item_ids": ["a", 1]}]}, "requests[1].item_ids[1]"),
    ({"requests": [GOOD, {"user_id": "u1"}]}, "requests[1].item_ids"),
    ({"requests": [GOOD, GOOD | {"context": {"planet": "x"}}]}, "requests[1].context.planet"),
    ({"requests": [GOOD, GOOD | {"user_id": "\x00"}]}, "requests[1].user_id"),
]


@pytest.mark.parametrize(("body", "field"), BATCH_INVALID)
def test_invalid_field_of_a_batch_is_named_with_its_request(small: TestClient, body: object, field: str) -> None:
    """In a batch the field's name says which request it is in; none of them is answered."""
    response = small.post("/score/batch", json=body)
    assert response.status_code == 422, response.text
    assert [error["field"] for error in response.json()["errors"]] == [field]


MALFORMED = [
    b"",
    b"{",
    b'{"user_id": "u1", "item_ids": ["plain"]} x',
    b'{"user_id": NaN, "item_ids": []}',
    b'{"user_id": "\xff\xfe", "item_ids": []}',
    b'{"user_id": "\\ud800", "item_ids": []}',  # half of a surrogate pair is not a character
    b'{"user_id": "u1", "item_ids": ["\\udc00x"]}',
    b"\x1f\x8b\x08\x00 not json",
    b'{"user_id": "a\x00b", "item_ids": []}',
]


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize("path", ["/score", "/score/batch"])
def test_malformed_body_gets_400(small: TestClient, path: str, body: bytes) -> None:
    """A body that is no JSON document in UTF-8 gets 400; for JSON with odd contents 422 is as good."""
    response = small.post(path, content=body)
    assert response.status_code in ((400,) if path == "/score" else (400, 422)), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"]


def test_name_of_an_unknown_field_is_cut_short(client: TestClient) -> None:
    """What was sent does not come back whole."""
    response = client.post("/score", json={"user_id": "u1", "item_ids": [], "x" * 100_000: 1})
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "x" * 64 + "...", "problem": "no such field"}]


def test_deeply_nested_body_is_refused(client: TestClient) -> None:
    """Nesting does not exhaust the stack."""
    for body in (b"[" * 100_000, b'{"context":' * 50_000, b'{"user_id":' + b"[" * 100_000):
        assert client.post("/score", content=body).status_code in (400, 422)


def test_body_with_a_stated_size_over_the_limit_is_not_read(small: TestClient) -> None:
    """Content-Length over the limit gets 413 at once."""
    body = json.dumps(GOOD | {"context": {"x": "y" * 500}}).encode()
    response = small.post("/score", content=body)
    assert response.status_code == 413
    assert response.json()["errors"] == [{"field": "body", "problem": "larger than 400 bytes"}]


def test_body_is_measured_while_it_streams(small: TestClient) -> None:
    """A body without a stated size is refused as soon as it passes the limit."""
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 100
            yield b" " * 100

    response = small.post("/score", content=pieces())
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


def test_compressed_body_is_refused(client: TestClient) -> None:
    """Nothing is decompressed, so no small body becomes a large one."""
    response = client.post("/score", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert response.status_code == 415


def test_wrong_method_and_unknown_path(client: TestClient) -> None:
    """405 names the methods that the path takes; an unknown path is 404; both are problem documents."""
    wrong = client.get("/score")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    for response in (
        wrong,
        client.post("/healthz"),
        client.delete("/profile/u1"),
        client.get("/nothing/here"),
    ):
        assert response.status_code in (404, 405)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == response.status_code
    assert client.get("/score/").status_code == 404


def test_unicode_and_duplicates_are_fine(client: TestClient) -> None:
    """Any Unicode text is an id, and a candidate may stand more than once."""
    body = {"user_id": "😀 \u2028 \x1f", "item_ids": ["ünïcode", "ünïcode", "\ufffd"], "context": {}}
    response = client.post("/score", json=body)
    assert response.status_code == 200
    assert response.json()["user_id"] == body["user_id"]
    assert response.json()["unknown_items"] == [2]
