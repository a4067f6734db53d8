"""A release directory: complete, self-consistent, deterministic, and what the recommender says."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest

from tests.training.toy import FIELDS, toy_codes, toy_dataset
from userip.release.errors import ReleaseError
from userip.release.manifest import read_manifest
from userip.training.data.dataset import Dataset
from userip.training.export.config import ExportConfig
from userip.training.export.release import Origin, write_release
from userip.training.export.verify import ExportError, verify_release
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.fit import FittedRecommender, fit_recommender

EXPORT = ExportConfig(check_rows=500)
QUICK = RecommenderConfig(batch=128, lr=5e-3, epochs=4)
THEN, LATER = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "set", split="users", fields=FIELDS)


@pytest.fixture(scope="module")
def fitted(dataset: Dataset) -> FittedRecommender:
    return fit_recommender(dataset, toy_codes(dataset), QUICK, seed=0)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    codebooks = tmp_path_factory.mktemp("quantize") / "codebooks.safetensors"
    codebooks.write_bytes(b"any bytes: the file is copied as it is")
    return Origin("userip", {"valid": {"auc": 0.5}}, 'name = "toy"\n', codebooks, {"note": "a test"})


@pytest.fixture(scope="module")
def release(fitted: FittedRecommender, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "release"
    write_release(directory, fitted, origin, EXPORT, THEN)
    return directory


def test_all_files_are_there_and_named_with_their_hash(release: Path) -> None:
    """`read_manifest` accepts the directory; nothing is left beside it."""
    manifest = read_manifest(release)
    assert set(manifest.files) == {
        "scorer.onnx",
        "item_rows.npy",
        "request_rows.npy",
        "items.npz",
        "codebooks.safetensors",
        "profiles.parquet",
        "golden.json",
        "config.toml",
        "metrics.json",
    }
    assert [path.name for path in release.parent.iterdir()] == ["release"]
    assert (release / "config.toml").read_text() == 'name = "toy"\n'
    assert json.loads((release / "metrics.json").read_text()) == manifest.metrics == {"valid": {"auc": 0.5}}


def test_the_manifest_describes_the_fields(release: Path, dataset: Dataset) -> None:
    """Order, sources, slots and values are those that the service needs."""
    manifest = read_manifest(release)
    assert [(field.name, field.source, field.slot) for field in manifest.fields] == [
        ("user_id", "user_row", None),
        ("item_id", "item_row", None),
        ("kind", "item", None),
        ("background", "code", 0),
        ("hobby", "code", 1),
        ("age", "user", 2),
        ("device", "context", None),
    ]
    assert manifest.slots == 3
    assert manifest.contexts[0].values == ("phone", "tv")
    assert [(facet.name, facet.slot, facet.codebook_size) for facet in manifest.facets] == [
        ("background", 0, 2),
        ("hobby", 1, 3),
    ]
    assert manifest.dataset["split_hash"] == dataset.split_hash
    assert manifest.method["name"] == "userip"
    assert manifest.release.startswith("toy-userip-")
    assert manifest.created == "2026-01-02T00:00:00+00:00"


def test_items_are_those_of_which_something_is_known(release: Path) -> None:
    """Trained items first, then the one that the catalogue gives a kind; one without a kind is unknown."""
    with np.load(release / "items.npz") as arrays:
        blob, offsets = arrays["blob"].tobytes(), arrays["offsets"]
    ids = [blob[low:high].decode() for low, high in pairwise(offsets)]
    assert ids == [*sorted(f"i{item}" for item in range(45)), "i45"]
    manifest = read_manifest(release)
    assert manifest.items == 46
    assert manifest.fields[1].size == 47
    assert len(np.load(release / manifest.tables["item_rows"])) == 47


def test_every_known_user_has_a_profile(release: Path, dataset: Dataset) -> None:
    """Users with train or history rows; row 0 for the held out; codes and user categories in slot order."""
    profiles = pl.read_parquet(release / "profiles.parquet")
    assert dict(profiles.schema) == {
        "user_id": pl.String,
        "row": pl.UInt32,
        "background": pl.UInt16,
        "hobby": pl.UInt16,
        "age": pl.UInt16,
    }
    known = dataset.rows("train", "history").select("user_id", "age").unique().sort("user_id")
    assert profiles["user_id"].equals(known["user_id"])
    held_out = set(dataset.rows("history")["user_id"])
    trained = sorted(set(known["user_id"]) - held_out)
    rows = dict(profiles.select("user_id", "row").iter_rows())
    assert [rows[user] for user in trained] == list(range(1, len(trained) + 1))
    assert {rows[user] for user in held_out} == {0}
    assert (profiles["hobby"] == profiles["user_id"].str.slice(1).cast(pl.Int64) % 3).all()
    young = pl.Series(["old", "young"]).gather(profiles["age"])
    assert young.equals(known["age"], check_names=False)


def test_the_files_alone_give_torchs_probabilities(release: Path, fitted: FittedRecommender, dataset: Dataset) -> None:
    """One request with many candidates, put together by hand from the files, against the recommender."""
    manifest = read_manifest(release)
    row = dataset.rows("valid").head(1)
    user, device = row["user_id"][0], row["device"][0]
    profile = pl.read_parquet(release / "profiles.parquet").row(by_predicate=pl.col("user_id") == user, named=True)
    feed: dict[str, Any] = {
        "items": np.arange(0, manifest.items + 1),
        "request": np.zeros(manifest.items + 1, np.int64),
        "user": np.asarray([profile["row"]]),
        "slots": np.asarray([[profile[name] + 1 for name in ("background", "hobby", "age")]]),
        "context": np.asarray([[(manifest.contexts[0].values or ()).index(device) + 1]]),
    }
    feed |= {name: np.load(release / file) for name, file in manifest.tables.items()}
    served = ort.InferenceSession(release / "scorer.onnx").run(["probability"], feed)[0]
    items = ["no such item", *sorted(f"i{item}" for item in range(45)), "i45"]
    rows = pl.concat([row.with_columns(item_id=pl.lit(item)) for item in items])
    np.testing.assert_allclose(served, fitted.predict(rows), rtol=0, atol=1e-5)


def test_the_same_recommender_gives_the_same_release(
    release: Path, fitted: FittedRecommender, origin: Origin, tmp_path: Path
) -> None:
    """Every byte but the manifest's `created`; the release's name does not depend on the time."""
    write_release(tmp_path / "again", fitted, origin, EXPORT, LATER)
    first, second = (json.loads((path / "manifest.json").read_text()) for path in (release, tmp_path / "again"))
    assert (first.pop("created"), second.pop("created")) != (None, None)
    assert first == second
    for name in first["files"]:
        assert (tmp_path / "again" / name).read_bytes() == (release / name).read_bytes()


def test_another_recommender_has_another_name(release: Path, dataset: Dataset, origin: Origin, tmp_path: Path) -> None:
    """The name holds a hash of the content: two releases are never mistaken for each other."""
    other = fit_recommender(dataset, toy_codes(dataset), QUICK, seed=1)
    manifest, _ = write_release(tmp_path / "other", other, origin, EXPORT, THEN)
    assert manifest.release != read_manifest(release).release
    named = EXPORT.model_copy(update={"name": "mine"})
    assert write_release(tmp_path / "named", other, origin, named, THEN)[0].release.startswith("mine-")


@pytest.mark.parametrize("user_field", [True, False])
@pytest.mark.parametrize("codes", ["profile", "none"])
def test_any_choice_of_fields_is_released(tmp_path: Path, user_field: bool, codes: str) -> None:
    """With and without user field and codes, without further fields: verified against torch all the same."""
    plain = toy_dataset(tmp_path / "set", users=60)
    config = QUICK.model_copy(update={"user_field": user_field, "codes": codes, "epochs": 1})
    fitted = fit_recommender(plain, toy_codes(plain), config, seed=0)
    manifest, difference = write_release(tmp_path / "release", fitted, Origin("x", {}, ""), EXPORT)
    assert difference <= 1e-5
    assert manifest.slots == (2 if codes == "profile" else 0)
    assert manifest.users == 60
    rows = pl.read_parquet(tmp_path / "release" / "profiles.parquet")["row"]
    assert rows.max() == (60 if user_field else 0)


def test_a_graph_that_says_something_else_is_not_released(
    fitted: FittedRecommender, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's answer is moved by 2e-5: nothing appears under the release's name."""
    true = FittedRecommender.predict
    monkeypatch.setattr(FittedRecommender, "predict", lambda self, rows: true(self, rows) + np.float32(2e-5))
    with pytest.raises(ExportError, match=r"scorer\.onnx"):
        write_release(tmp_path / "release", fitted, origin, EXPORT)
    assert not (tmp_path / "release").exists()


def test_profiles_of_other_users_are_noticed(fitted: FittedRecommender, origin: Origin, tmp_path: Path) -> None:
    """The check reads what was written: two slots exchanged in profiles.parquet make it fail."""
    directory = tmp_path / "release"
    write_release(directory, fitted, origin, EXPORT)
    profiles = pl.read_parquet(directory / "profiles.parquet")
    profiles.with_columns(hobby=pl.col("hobby").shift(1, fill_value=0)).write_parquet(directory / "profiles.parquet")
    with pytest.raises(ReleaseError, match=r"profiles\.parquet"):
        verify_release(directory, fitted, 500)


def test_a_broken_off_export_leaves_no_release(fitted: FittedRecommender, origin: Origin, tmp_path: Path) -> None:
    """What an earlier, killed export left beside is replaced."""
    left = tmp_path / "release.writing"
    left.mkdir()
    (left / "scorer.onnx").write_bytes(b"half")
    write_release(tmp_path / "release", fitted, origin, EXPORT)
    assert not left.exists()
    assert read_manifest(tmp_path / "release").users
