"""A recommender without a fold, from its fit to answers over HTTP: what the service says is what torch says."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import SecretStr
from safetensors.torch import save_file
from starlette.testclient import TestClient

from tests.training.toy import FIELDS, toy_codes, toy_dataset
from userip.bank.opening import open_bank
from userip.ops.publish import publish_release
from userip.release.errors import ReleaseError
from userip.release.manifest import ITEM_FIELDS, read_manifest, sha256_of
from userip.scoring.releases.loaded_release import load_release
from userip.service.app import create_app
from userip.service.settings import Settings
from userip.training.data.dataset import Dataset
from userip.training.export.config import ExportConfig
from userip.training.export.step import run_export
from userip.training.methods.config import ProfileConfig
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.step import run_fit
from userip.training.recommender.storage import read_recommender

SERVED = ("dcn", "dcnv2", "deepfm")


Change = Callable[[np.ndarray[Any, Any]], "np.ndarray[Any, Any] | None"]


class Run(NamedTuple):
    dataset: Dataset
    directory: Path
    name: str

    @property
    def release(self) -> Path:
        return self.directory / "release"


def _finished(run: Path, name: str) -> Run:
    """Fit and export on codes that are there already, with every kind of field and users held out of training."""
    dataset = toy_dataset(run / "set", split="users", fields=FIELDS, users=60)
    table = toy_codes(dataset)
    (run / "quantize").mkdir()
    table.frame.write_parquet(run / "quantize" / "codes.parquet")
    summary = {"facets": list(table.facets), "split_hash": dataset.split_hash, "method": "userip"}
    (run / "quantize" / "quantize.json").write_text(json.dumps(summary))
    books = {f"{facet}.codes": torch.zeros(4, 2) for facet in ProfileConfig().sizes}
    save_file(books, run / "quantize" / "codebooks.safetensors")
    (run / "config.toml").write_text("seed = 1\n")
    fit = RecommenderConfig(recommender=name, batch=128, epochs=2)
    (run / "fit").mkdir()
    run_fit(dataset, run, run / "fit", fit, seed=1)
    (run / "release").mkdir()
    run_export(dataset, run, run / "release", ProfileConfig(), fit, ExportConfig(check_rows=500), seed=1)
    return Run(dataset, run, name)


@pytest.fixture(scope="module", params=SERVED)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _finished(tmp_path_factory.mktemp(request.param), request.param)


def test_the_service_answers_what_torch_says(run: Run, tmp_path: Path) -> None:
    """Trained users, users who were folded in, a stranger; unknown items; with a context and without."""
    codes = CodeTable.read(run.directory / "quantize", run.dataset.split_hash)
    fitted = read_recommender(run.directory / "fit", run.dataset, codes)
    url = f"lmdb://{tmp_path}/bank"
    with contextlib.closing(open_bank(url)) as bank:
        publish_release(run.release, bank)
    profiles = pl.read_parquet(run.release / "profiles.parquet")
    kinds = [profiles.filter(pl.col("row") > 0).head(4), profiles.filter(pl.col("row") == 0).head(4)]
    assert all(kind.height == 4 for kind in kinds)
    ages = dict(run.dataset.rows("train", "history").select("user_id", "age").unique().iter_rows())
    users = [*pl.concat(kinds)["user_id"], "nobody"]
    items = [*run.dataset.items["item_id"], "nothing"]
    settings = Settings(
        release_dir=run.release, bank_url=SecretStr(url), access_log_sample_rate=False, log_level="error"
    )
    with TestClient(create_app(settings)) as client:
        for device in ("phone", None):
            context = {} if device is None else {"context": {"device": device}}
            asked = [{"user_id": user, "item_ids": items, **context} for user in users]
            answers = client.post("/score/batch", json={"requests": asked}).raise_for_status().json()["responses"]
            for user, answer in zip(users, answers, strict=True):
                lines = [{"user_id": user, "item_id": item, "age": ages.get(user), "device": device} for item in items]
                rows = pl.DataFrame(lines, schema_overrides={"age": pl.String, "device": pl.String})
                np.testing.assert_allclose(answer["scores"], fitted.predict(rows), rtol=0, atol=1e-5)
                assert answer["profile"] == ("default" if user == "nobody" else "known")
            scores = np.array([answer["scores"] for answer in answers])
            assert scores.std(axis=1).min() > 1e-3, "a constant answer would agree with anything"


def test_the_manifest_says_what_kind_of_graph_it_is(run: Run) -> None:
    """Plain, with the rows of the item fields beside it; of a folded one nothing, as before there were two kinds."""
    manifest, raw = read_manifest(run.release), json.loads((run.release / "manifest.json").read_text())
    if run.name == "dcn":
        assert manifest.graph == "folded"
        assert "graph" not in raw
        assert "recommender" not in raw["method"]["recommender"]
        assert ITEM_FIELDS not in manifest.files
    else:
        assert raw["graph"] == manifest.graph == "plain"
        assert raw["method"]["recommender"]["recommender"] == run.name
        assert np.load(run.release / ITEM_FIELDS).shape == (manifest.items + 1, 2)
    release = load_release(run.release)
    assert release.manifest.release == manifest.release


def _altered(run: Run, tmp_path: Path, item_fields: np.ndarray[Any, Any] | None) -> Path:
    """A copy of the release with other item fields, or none, and hashes that agree."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in run.release.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((copy / "manifest.json").read_text())
    if item_fields is None:
        (copy / ITEM_FIELDS).unlink()
        del manifest["files"][ITEM_FIELDS]
    else:
        np.save(copy / ITEM_FIELDS, item_fields)
        manifest["files"][ITEM_FIELDS] = sha256_of(copy / ITEM_FIELDS)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:-1], r"item_fields\.npy: int64 \(\d+, 2\), expected int64 \(\d+, 2\)"),
        (lambda rows: rows.astype(np.int32), r"item_fields\.npy: int32"),
        (lambda rows: rows + 1000, r"item_fields\.npy: a row is beyond the size of its field"),
        (lambda rows: rows - 1, r"item_fields\.npy: a row is beyond the size of its field"),
        (lambda rows: None, r"no hash for item_fields\.npy"),
    ],
)
@pytest.mark.parametrize("run", ["dcnv2"], indirect=True)
def test_item_fields_that_do_not_fit_are_refused(run: Run, tmp_path: Path, change: Change, said: str) -> None:
    """A release whose item fields are missing, of another form, or beyond the tables is never loaded."""
    with pytest.raises(ReleaseError, match=said):
        load_release(_altered(run, tmp_path, change(np.load(run.release / ITEM_FIELDS))))
