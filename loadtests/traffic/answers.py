"""Whether answers under load are right: against scores that an oracle computed before.

An oracle knows the model but not the service (torch, not the folded graph; the data, not the bank). Expected
answers are written per variant as {index of the request in the pool: [one per request of the body]}.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from userip.files import write_text
from userip.loadtests.errors import BenchInputError
from userip.loadtests.traffic.workload import Workload

TOLERANCE: Final = 1e-5  # max abs difference of a probability
VERIFIED: Final = 128  # users of a pool whose scores are computed before; their requests are verified whenever sent
_HELD: Final = 4096  # different answers that wait to be judged

Expected = Mapping[int, Sequence[Mapping[str, Any]]]


class Oracle(Protocol):
    """What the right scores are."""

    def scores(self, user_id: str, item_ids: Sequence[str]) -> NDArray[np.float32]:
        """Probabilities, float32 [len(item_ids)]."""


def verified(workload: Workload) -> range:
    """Which requests of the pool are verified: evenly spread, `VERIFIED` users in all or a few less."""
    asks = sum(map(len, workload.asks))
    return range(0, len(workload), max(-(-asks // VERIFIED), 1))


def expect_scores(workload: Workload, oracle: Oracle) -> Expected:
    """The right answers to the requests of `verified`."""
    return {
        index: [
            {"user_id": ask.user_id, "scores": [float(score) for score in oracle.scores(ask.user_id, ask.item_ids)]}
            for ask in workload.asks[index]
        ]
        for index in verified(workload)
    }


def expect_codes(workload: Workload, release: Path) -> Expected:
    """The right answers to GET /profile, from the release's table of profiles."""
    import polars as pl

    from userip.bank.record import UNKNOWN_CODE
    from userip.release.manifest import read_manifest

    facets = [facet.name for facet in read_manifest(release, verify="nothing").facets]
    table = pl.read_parquet(release / "profiles.parquet", columns=["user_id", *facets])
    codes = {user: dict(zip(facets, row, strict=True)) for user, *row in table.iter_rows()}
    return {
        index: [
            {
                "user_id": ask.user_id,
                "codes": {facet: None if code == UNKNOWN_CODE else code for facet, code in codes[ask.user_id].items()},
            }
            for ask in workload.asks[index]
        ]
        for index in verified(workload)
    }


def write_expected(expected: Expected, file: Path) -> None:
    """Write as JSON, whole or not at all."""
    write_text(file, json.dumps(expected))


def read_expected(file: Path | None) -> Expected:
    """What `write_expected` wrote; nothing for None. Raises BenchInputError naming the file."""
    if file is None:
        return {}
    try:
        return {int(index): answers for index, answers in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise BenchInputError(f"{file}: no expected answers ({error})") from None


def is_right(body: bytes, expected: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an answer has the users, lengths and values that are expected, in their order."""
    try:
        document = orjson.loads(body)
        answers = document.get("responses", [document])
        return len(answers) == len(expected) and all(map(_agrees, answers, expected))
    except (ValueError, KeyError, TypeError, AttributeError):  # another shape of JSON, or none
        return False


def _agrees(answer: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    if answer["user_id"] != expected["user_id"]:
        return False
    if "codes" in expected:
        return bool({code["facet"]: code["code"] for code in answer["codes"]} == expected["codes"])
    scores, wanted = answer["scores"], expected["scores"]
    return len(scores) == len(wanted) and all(
        math.isclose(score, right, rel_tol=0, abs_tol=TOLERANCE) for score, right in zip(scores, wanted, strict=True)
    )


class Verifier:
    """Judges every answer to a request whose right answer is known.

    A service that is right gives the same bytes again and again: they are counted under load, and judged once.
    """

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._held: Counter[tuple[int, bytes]] = Counter()
        self._verified = self._wrong = 0

    def note(self, index: int, body: bytes) -> None:
        """Take the answer to request `index` of the pool."""
        if index in self._expected:
            self._held[index, body] += 1
            if len(self._held) >= _HELD:
                self._judge()

    def counts(self) -> tuple[int, int]:
        """How many answers were verified, and how many of these were wrong."""
        self._judge()
        return self._verified, self._wrong

    def _judge(self) -> None:
        for (index, body), count in self._held.items():
            self._verified += count
            self._wrong += 0 if is_right(body, self._expected[index]) else count
        self._held.clear()
