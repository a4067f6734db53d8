"""The golden requests of a release: of every kind, with torch's own answers."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.training.toy import FIELDS, toy_codes, toy_dataset
from userip.release.golden import GOLDEN, Golden
from userip.release.manifest import sha256_of
from userip.training.data.dataset import Dataset
from userip.training.export.config import ExportConfig
from userip.training.export.release import Origin, write_release
from userip.training.export.verify import ExportError, verify_release
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.fit import FittedRecommender, fit_recommender


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "set", split="users", fields=FIELDS)


@pytest.fixture(scope="module")
def fitted(dataset: Dataset) -> FittedRecommender:
    return fit_recommender(dataset, toy_codes(dataset), RecommenderConfig(batch=128, epochs=1), seed=0)


@pytest.fixture
def release(tmp_path: Path, fitted: FittedRecommender) -> Path:
    write_release(tmp_path / "release", fitted, Origin("userip", {}, ""), ExportConfig(check_rows=50))
    return tmp_path / "release"


def read(release: Path) -> Golden:
    return Golden.model_validate_json((release / GOLDEN).read_bytes())


def test_every_kind_of_request_is_recorded(release: Path) -> None:
    """Trained, folded-in and unknown users, known and unknown items, with a context and without any."""
    requests = read(release).requests
    assert 50 <= len(requests) <= 60
    assert sum(request.row > 0 for request in requests) >= 20
    assert sum(request.row == 0 and request.codes is not None for request in requests) >= 20
    assert sum(request.codes is None for request in requests) == 2
    assert all("\x00nothing" in request.items for request in requests)
    assert {tuple(request.context.items()) for request in requests} == {(("device", d),) for d in ("phone", "tv")} | {
        ()
    }
    assert len({item for request in requests for item in request.items}) > 40


def test_answers_are_torchs(release: Path, fitted: FittedRecommender, dataset: Dataset) -> None:
    """A request of a known user, put to the recommender by hand from the user's own row."""
    profiles = pl.read_parquet(release / "profiles.parquet")
    categories = dataset.rows("train").group_by("user_id").agg(pl.col("age").first())
    users = {row: user for user, row in profiles.select("user_id", "row").iter_rows() if row}
    ages = dict(categories.iter_rows())
    for request in [request for request in read(release).requests if request.row][::7]:
        user = users[request.row]
        lines = [
            {"user_id": user, "item_id": item, "age": ages[user], "device": request.context["device"]}
            for item in request.items
        ]
        np.testing.assert_allclose(request.probabilities, fitted.predict(pl.DataFrame(lines)), rtol=0, atol=1e-7)


def test_a_release_with_another_golden_answer_is_not_exported(release: Path, fitted: FittedRecommender) -> None:
    """The export asks the written graph its golden requests too: one that is off by 2e-5 is an error."""
    golden = json.loads((release / GOLDEN).read_text())
    answers = golden["requests"][-1]["probabilities"]
    answers[-1] += 2e-5 if answers[-1] < 0.5 else -2e-5
    (release / GOLDEN).write_text(json.dumps(golden))
    manifest = json.loads((release / "manifest.json").read_text())
    manifest["files"][GOLDEN] = sha256_of(release / GOLDEN)
    (release / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ExportError, match="off by"):
        verify_release(release, fitted, 50)
