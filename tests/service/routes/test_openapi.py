"""The OpenAPI document says what the service does: requests and answers are held against it."""

from collections.abc import Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.fixtures.json_schema import problems
from tests.fixtures.serving import Serve
from tests.service.routes.test_bad_requests import BATCH_INVALID, GOOD, INVALID


@pytest.fixture
def api(serve: Serve, lmdb_url: str) -> TestClient:
    """The application with the limits of the bad requests, and an admin key."""
    return serve(lmdb_url, max_candidates=3, max_batch=2, max_id_length=8, admin_key="key")


@pytest.fixture
def document(api: TestClient) -> Mapping[str, Any]:
    """The OpenAPI document as a client gets it."""
    found: Mapping[str, Any] = api.get("/openapi.json").json()
    return found


def check_answer(document: Mapping[str, Any], method: str, path: str, response: Any) -> None:  # noqa: ANN401
    """The status, media type and body of `response` are what the document says of this operation."""
    responses = document["paths"][path][method]["responses"]
    assert str(response.status_code) in responses, (path, response.status_code)
    content = responses[str(response.status_code)]["content"]
    media_type = response.headers["content-type"].partition(";")[0]
    assert media_type in content
    if "json" in media_type:
        assert problems(response.json(), content[media_type]["schema"], document) == []


BODIES = [
    GOOD,
    {"user_id": "nobody", "item_ids": []},
    {"user_id": "u2", "item_ids": ["a", "b", "i5"], "context": {"device": "mobile"}},
    {"user_id": "u2", "item_ids": ["a"], "context": None},
]


def test_answers_of_the_hot_routes_fit_the_document(api: TestClient, document: Mapping[str, Any]) -> None:
    """Good and bad requests to /score and /score/batch get answers that their schemas allow."""
    bodies: list[object] = [*BODIES, *(body for body, _, _ in INVALID)]
    for body in bodies:
        check_answer(document, "post", "/score", api.post("/score", json=body))
    check_answer(document, "post", "/score", api.post("/score", content=b"{"))
    check_answer(document, "post", "/score", api.post("/score", content=b" " * (2 << 20)))
    check_answer(document, "post", "/score", api.post("/score", headers={"content-encoding": "br"}))
    for requests in (BODIES[:2], BODIES[2:], []):
        check_answer(document, "post", "/score/batch", api.post("/score/batch", json={"requests": requests}))
    for body, _ in BATCH_INVALID:
        check_answer(document, "post", "/score/batch", api.post("/score/batch", json=body))


def test_request_schemas_accept_what_is_accepted_and_refuse_what_is_refused(
    document: Mapping[str, Any],
) -> None:
    """The body schemas, limits included, agree with the decoder on every request of these tests."""
    score, batch = (
        document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        for path in ("/score", "/score/batch")
    )
    for body in BODIES:
        assert problems(body, score, document) == []
        assert problems({"requests": [body, body]}, batch, document) == []
    # Which context fields there are is the release's matter, which the document does not repeat.
    for body, field, _ in INVALID:
        assert bool(problems(body, score, document)) == (field != "context.planet"), body
    for invalid, field in BATCH_INVALID:
        assert bool(problems(invalid, batch, document)) == ("planet" not in field), invalid


def test_answers_of_the_other_routes_fit_the_document(api: TestClient, document: Mapping[str, Any]) -> None:
    """So do those of every other operation, in success and failure."""
    for path in ("/healthz", "/readyz", "/release", "/metrics"):
        check_answer(document, "get", path, api.get(path))
    for user in ("u1", "u2", "nobody", "too long for the limit"):
        check_answer(document, "get", "/profile/{user_id}", api.get(f"/profile/{user}"))
    for path in ("/admin/reload", "/admin/rollback"):
        check_answer(document, "post", path, api.post(path))
        check_answer(document, "post", path, api.post(path, headers={"x-api-key": "key"}))


def test_document_covers_every_route_and_names_each_operation_once(
    api: TestClient, document: Mapping[str, Any]
) -> None:
    """Nothing is served beside the documented paths, and clients can be generated from the document."""
    assert set(document["paths"]) == {
        "/score", "/score/batch", "/profile/{user_id}", "/healthz", "/readyz", "/release", "/metrics",
        "/admin/reload", "/admin/rollback",
    }  # fmt: skip
    names = [op["operationId"] for path in document["paths"].values() for op in path.values()]
    assert len(set(names)) == len(names)
    text = api.get("/openapi.json").text
    assert "HTTPValidationError" not in text
    assert document["components"]["schemas"]["ScoreRequest"]["properties"]["item_ids"]["maxItems"] == 3


def test_document_can_be_switched_off(serve: Serve, lmdb_url: str) -> None:
    """Without docs neither the document nor its pages are served."""
    closed = serve(lmdb_url, docs=False)
    assert [closed.get(path).status_code for path in ("/openapi.json", "/docs", "/redoc")] == [404] * 3
