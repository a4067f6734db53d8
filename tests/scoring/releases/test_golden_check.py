"""Golden requests: a release that answers otherwise than it did when it was exported is not served."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.serving import Serve
from tests.fixtures.tiny_release import TinyRelease, change_manifest
from userip.release.errors import ReleaseError
from userip.scoring.releases.current_release import load_and_warm_up

NOBODY = (0xFFFF, 0xFFFF, 0xFFFF)


def write_golden(tiny: TinyRelease, change: Callable[[list[Any]], object] = lambda requests: None) -> None:
    """golden.json with what the tables give by hand, then `change` on its requests; the manifest fits it."""
    asked: list[tuple[int, tuple[int, ...] | None, list[str], str | None]] = [
        (1, (0, 1, 1), ["plain", "i5", "no such item"], "tv"),
        (0, (3, 0xFFFF, 0), ["ünïcode"], None),
        (0, None, ["plain", "item 4"], "mobile"),
    ]
    requests = [
        {
            "row": row,
            "codes": codes,
            "items": items,
            "context": {} if device is None else {"device": device},
            "probabilities": list(tiny.expected(items, row, codes or NOBODY, device)),
        }
        for row, codes, items, device in asked
    ]
    change(requests)
    (tiny.path / "golden.json").write_text(json.dumps({"requests": requests}))
    change_manifest(tiny)


def test_a_release_that_answers_as_recorded_is_loaded(tiny: TinyRelease) -> None:
    """Known, folded-in and unknown users, known and unknown items, with and without context."""
    write_golden(tiny)
    assert load_and_warm_up(tiny.path, 10).golden == 3


def off(requests: list[Any]) -> None:
    requests[1]["probabilities"][0] += 2e-5 if requests[1]["probabilities"][0] < 0.5 else -2e-5


def wrong_code(requests: list[Any]) -> None:
    requests[2]["codes"] = [4, 0, 0]


def wrong_row(requests: list[Any]) -> None:
    requests[2]["row"] = 6


def too_few(requests: list[Any]) -> None:
    requests[0]["probabilities"].pop()


def no_number(requests: list[Any]) -> None:
    requests[0]["row"] = "one"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (off, "request 1: item 'ünïcode' scores"),
        (wrong_code, "request 2: it does not fit"),
        (wrong_row, "request 2: it does not fit"),
        (too_few, "request 0: it does not fit"),
        (no_number, "requests.0.row"),
    ],
)
def test_a_release_that_answers_otherwise_is_refused(
    tiny: TinyRelease, change: Callable[[list[Any]], object], says: str
) -> None:
    """Off by 2e-5, or a request that the tables cannot have answered: the error names file and request."""
    write_golden(tiny, change)
    with pytest.raises(ReleaseError, match=rf"golden\.json: {says}"):
        load_and_warm_up(tiny.path, 10)


def test_altered_golden_requests_are_refused(tiny: TinyRelease) -> None:
    """The file has a hash like every other."""
    write_golden(tiny)
    path: Path = tiny.path / "golden.json"
    path.write_text(path.read_text().replace("tv", "mobile"))
    with pytest.raises(ReleaseError, match=r"golden\.json: sha256 differs"):
        load_and_warm_up(tiny.path, 10)


def test_a_release_without_golden_requests_is_served_and_said_so(
    serve: Serve, lmdb_url: str, tiny: TinyRelease, log: io.BytesIO
) -> None:
    """An old release is loaded unchecked, and the log says how to have it checked."""
    assert serve(lmdb_url).get("/release").json()["release"] == tiny.name
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["release"] for line in lines if "no golden requests" in line["event"]] == [tiny.name]
