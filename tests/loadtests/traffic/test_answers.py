"""Answers under load are held against scores that somebody else computed; a wrong one is seen."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fixtures.tiny_release import write_release
from userip.loadtests.traffic.answers import (
    VERIFIED,
    Verifier,
    expect_codes,
    expect_scores,
    is_right,
    read_expected,
    verified,
    write_expected,
)
from userip.loadtests.traffic.workload import Ask, Population, Workload, make_workload

WANTED = [{"user_id": "u", "scores": [0.25, 0.5]}]


class _Lengths:
    """An oracle whose scores are lengths of ids."""

    def scores(self, user_id: str, item_ids: Sequence[str]) -> NDArray[np.float32]:
        return np.array([len(user_id) / 10 + len(item) / 100 for item in item_ids], np.float32)


def _answer(**changes: object) -> bytes:
    return json.dumps({"user_id": "u", "release": "r", "scores": [0.25, 0.5], "unknown_items": []} | changes).encode()


def test_right_within_the_tolerance() -> None:
    """1e-5 in a probability, no more."""
    assert is_right(_answer(), WANTED)
    assert is_right(_answer(scores=[0.250009, 0.499991]), WANTED)
    assert not is_right(_answer(scores=[0.250011, 0.5]), WANTED)


@pytest.mark.parametrize(
    "answer",
    [
        _answer(user_id="v"),
        _answer(scores=[0.25]),
        _answer(scores=[0.5, 0.25]),
        _answer(scores=[0.25, None]),
        _answer(scores="no"),
        b"{}",
        b"[]",
        b"not json",
        json.dumps({"responses": []}).encode(),
    ],
    ids=str,
)
def test_wrong_answers_are_seen(answer: bytes) -> None:
    """Another user, another length, another order, no numbers, another document."""
    assert not is_right(answer, WANTED)


def test_a_batch_is_right_as_a_whole_only() -> None:
    """One wrong part, or parts in another order, make the answer wrong."""
    parts: list[dict[str, Any]] = [{"user_id": "u", "scores": [0.1]}, {"user_id": "v", "scores": [0.2]}]
    assert is_right(json.dumps({"responses": parts}).encode(), parts)
    assert not is_right(json.dumps({"responses": parts[::-1]}).encode(), parts)
    assert not is_right(json.dumps({"responses": parts[:1]}).encode(), parts)


def test_every_answer_to_an_expected_request_counts() -> None:
    """The same bytes again count again; answers to other requests do not."""
    verifier = Verifier({3: WANTED})
    for _ in range(5):
        verifier.note(3, _answer())
    verifier.note(3, _answer(user_id="v"))
    verifier.note(3, _answer(user_id="v"))
    verifier.note(4, b"never looked at")
    assert verifier.counts() == (7, 2)


def test_many_different_answers_are_judged_on_the_way() -> None:
    """The counts stay exact when more different answers come than are held."""
    verifier = Verifier({0: WANTED})
    for number in range(9000):
        verifier.note(0, _answer(release=f"r{number}", user_id="v" if number % 9 == 0 else "u"))
    assert verifier.counts() == (9000, 1000)


def test_expected_scores_come_from_the_oracle(tmp_path: Path) -> None:
    """For as many users as are verified, spread over the pool, written and read back."""
    people = Population(("u", "user"), ("a", "bb", "ccc"))
    workload = make_workload(people, "/score/batch", 2, 2)
    write_expected(expect_scores(workload, _Lengths()), tmp_path / "e.json")
    expected = read_expected(tmp_path / "e.json")
    assert sorted(expected) == list(verified(workload))
    assert VERIFIED / 2 < sum(map(len, expected.values())) <= VERIFIED
    assert max(expected) > len(workload) * 0.9
    for index, answers in expected.items():
        for ask, answer in zip(workload.asks[index], answers, strict=True):
            right = [len(ask.user_id) / 10 + len(item) / 100 for item in ask.item_ids]
            assert answer["user_id"] == ask.user_id
            assert answer["scores"] == pytest.approx(right, abs=1e-6)
    assert read_expected(None) == {}


def test_expected_codes_come_from_the_profiles(tmp_path: Path) -> None:
    """The code of each facet; none where the table says unknown."""
    import polars as pl

    release = write_release(tmp_path / "release").path
    table = {"user_id": ["a", "b"], "row": [1, 2], "hobby": [3, 65535], "background": [0, 2], "gender": [0, 1]}
    pl.DataFrame(table).write_parquet(release / "profiles.parquet")
    workload = Workload("/profile", ((Ask("a", ()),), (Ask("b", ()),)))
    expected = expect_codes(workload, release)
    assert {index: answer[0]["codes"] for index, answer in expected.items()} == {
        0: {"hobby": 3, "background": 0},
        1: {"hobby": None, "background": 2},
    }
    codes = [{"facet": "background", "code": 0}, {"facet": "hobby", "code": 3}]
    assert is_right(json.dumps({"user_id": "a", "codes": codes}).encode(), expected[0])
    codes[0]["code"] = 1
    assert not is_right(json.dumps({"user_id": "a", "codes": codes}).encode(), expected[0])
