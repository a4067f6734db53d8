"""Scoring over HTTP, on both kinds of bank, against the hand-computed probabilities."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from tests.fixtures.serving import RECORDS, Serve
from tests.fixtures.tiny_release import ITEMS, TinyRelease
from userip.bank.opening import open_bank
from userip.bank.record import Record
from userip.scoring import scorer


def score(client: TestClient, **body: object) -> Mapping[str, Any]:
    response = client.post("/score", json=body)
    assert response.status_code == 200, response.text
    answer: Mapping[str, Any] = response.json()
    return answer


def test_known_user_is_scored_with_row_codes_and_context(serve: Serve, tiny_bank_url: str, tiny: TinyRelease) -> None:
    """A known user's row, codes and the request's context all enter the probability."""
    client = serve(tiny_bank_url)
    for user_id in ("u1", "u2", "a/b c?", "Ünï/日本"):
        answer = score(client, user_id=user_id, item_ids=list(ITEMS), context={"device": "tv"})
        assert answer["user_id"] == user_id
        assert answer["release"] == tiny.name
        assert answer["profile"] == "known"
        assert answer["unknown_items"] == []
        record = RECORDS[user_id]
        expected = tiny.expected(ITEMS, record.row, record.codes, "tv")
        np.testing.assert_allclose(answer["scores"], expected, atol=1e-6)


def test_unknown_user_gets_the_default_profile(serve: Serve, tiny_bank_url: str, tiny: TinyRelease) -> None:
    """A user that the bank does not hold is scored with row 0 everywhere, and the answer says so."""
    answer = score(serve(tiny_bank_url), user_id="nobody", item_ids=["plain", "i5"])
    assert answer["profile"] == "default"
    np.testing.assert_allclose(answer["scores"], tiny.expected(["plain", "i5"]), atol=1e-6)


def test_unknown_items_are_scored_as_unknown_and_named_by_position(client: TestClient, tiny: TinyRelease) -> None:
    """Items that the release does not know get the unknown item's score; their positions are listed."""
    items = ["never", "plain", "plain", "nor this", "i7"]
    answer = score(client, user_id="u1", item_ids=items)
    assert answer["unknown_items"] == [0, 3]
    record = RECORDS["u1"]
    np.testing.assert_allclose(answer["scores"], tiny.expected(items, record.row, record.codes), atol=1e-6)
    assert answer["scores"][1] == answer["scores"][2]


def test_no_candidates_give_no_scores(client: TestClient) -> None:
    """An empty list is a valid question with an empty answer."""
    answer = score(client, user_id="u1", item_ids=[])
    assert (answer["profile"], answer["scores"], answer["unknown_items"]) == ("known", [], [])


@pytest.mark.parametrize("context", [{}, None, {"device": "toaster"}])
def test_absent_or_unknown_context_is_row_zero(
    client: TestClient, tiny: TinyRelease, context: Mapping[str, str] | None
) -> None:
    """No context, null and a value that was never seen in training score alike."""
    answer = score(client, user_id="u1", item_ids=["i6"], context=context)
    record = RECORDS["u1"]
    np.testing.assert_allclose(answer["scores"], tiny.expected(["i6"], record.row, record.codes), atol=1e-6)


@pytest.mark.parametrize("user_id", ["impossible row", "impossible code"])
def test_record_that_points_outside_the_tables_is_not_scored(
    serve: Serve, tiny_bank_url: str, tiny: TinyRelease, user_id: str
) -> None:
    """A record with a row or code that the graph does not have counts as corrupt; the default is served."""
    client = serve(tiny_bank_url)
    answer = score(client, user_id=user_id, item_ids=["plain"])
    assert answer["profile"] == "default"
    np.testing.assert_allclose(answer["scores"], tiny.expected(["plain"]), atol=1e-6)
    assert "userip_corrupt_records_total 1.0" in client.get("/metrics").text


def test_batch_answers_are_those_of_single_requests(serve: Serve, tiny_bank_url: str) -> None:
    """A batch gives each request, also a repeated, empty or unknown one, the answer that it gets alone."""
    client = serve(tiny_bank_url)
    requests: list[dict[str, Any]] = [
        {"user_id": "u1", "item_ids": ["plain", "never"], "context": {"device": "mobile"}},
        {"user_id": "nobody", "item_ids": list(ITEMS)},
        {"user_id": "u2", "item_ids": []},
        {"user_id": "impossible row", "item_ids": ["i5"]},
        {"user_id": "u1", "item_ids": ["plain", "never"], "context": {"device": "mobile"}},
        {"user_id": "a/b c?", "item_ids": ["i7"]},
    ]
    response = client.post("/score/batch", json={"requests": requests})
    assert response.status_code == 200, response.text
    alone = [score(client, **request) for request in requests]
    for together, single in zip(response.json()["responses"], alone, strict=True):
        np.testing.assert_allclose(together.pop("scores"), single.pop("scores"), atol=1e-6)  # type: ignore[attr-defined]
        assert together == single


def test_empty_batch_is_answered(client: TestClient) -> None:
    """No requests, no responses."""
    response = client.post("/score/batch", json={"requests": []})
    assert (response.status_code, response.json()) == (200, {"responses": []})


@pytest.mark.parametrize("long_s", [0.0, 60.0])
def test_a_long_run_leaves_the_event_loop_free_and_is_right(
    serve: Serve, lmdb_url: str, tiny: TinyRelease, monkeypatch: pytest.MonkeyPatch, long_s: float
) -> None:
    """A run that takes long goes to another thread, a short one does not; scores stay in order either way."""
    monkeypatch.setattr(scorer, "_LONG_S", long_s)
    client = serve(lmdb_url)
    loops: list[bool] = []
    run = scorer.Scorer.run

    def noting(self: scorer.Scorer, tasks: Sequence[scorer.Task]) -> list[NDArray[np.float32]]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            loops.append(False)
        else:
            loops.append(True)
        return run(self, tasks)

    monkeypatch.setattr(scorer.Scorer, "run", noting)
    items = [ITEMS[i % len(ITEMS)] for i in range(1000)]
    users = ["u1", "nobody", "u2", "u1", "nobody", "u2"]
    body = {"requests": [{"user_id": user, "item_ids": items} for user in users]}
    responses = client.post("/score/batch", json=body).json()["responses"]
    for user, answer in zip(users, responses, strict=True):
        record = RECORDS.get(user)
        expected = tiny.expected(items, record.row, record.codes) if record else tiny.expected(items)
        np.testing.assert_allclose(answer["scores"], expected, atol=1e-6)
    assert loops == [long_s > 0]


def test_new_and_changed_users_show_when_they_should(serve: Serve, lmdb_url: str, tiny: TinyRelease) -> None:
    """A stranger who is folded in is known at once; /profile shows a change at once, /score when the cache forgets."""
    client = serve(lmdb_url, cache_ttl_seconds=3600)
    assert score(client, user_id="new", item_ids=["i5"])["profile"] == "default"
    before = score(client, user_id="u1", item_ids=["i5"])
    bank = open_bank(lmdb_url)
    bank.upsert(tiny.name, {"new": Record(0, (1, 1, 1)), "u1": Record(1, (3, 0, 0))})
    bank.close()
    assert score(client, user_id="new", item_ids=["i5"])["profile"] == "known"
    assert [code["code"] for code in client.get("/profile/u1").json()["codes"]] == [3, 0]
    # The look at the profile refreshed what is kept of the user.
    after = score(client, user_id="u1", item_ids=["i5"])
    assert after["scores"] != before["scores"]
    np.testing.assert_allclose(after["scores"], tiny.expected(["i5"], 1, (3, 0, 0)), atol=1e-6)
