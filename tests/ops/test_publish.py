"""A release's records in a real bank, the default one."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tests.training.toy import FIELDS, toy_codes, toy_dataset
from userip.bank.opening import open_bank
from userip.bank.record import UNKNOWN_CODE
from userip.ops.publish import publish_release
from userip.release.errors import ReleaseError
from userip.release.manifest import Manifest, read_manifest, sha256_of
from userip.training.export.config import ExportConfig
from userip.training.export.release import Origin, write_release
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.fit import fit_recommender


@pytest.fixture
def release(tmp_path: Path) -> Path:
    dataset = toy_dataset(tmp_path / "set", split="users", fields=FIELDS, users=60)
    config = RecommenderConfig(batch=128, epochs=1)
    fitted = fit_recommender(dataset, toy_codes(dataset), config, seed=0)
    write_release(tmp_path / "release", fitted, Origin("userip", {}, ""), ExportConfig())
    return tmp_path / "release"


def test_every_profile_is_found_again(release: Path, tmp_path: Path) -> None:
    """Row and codes of every line of profiles.parquet, under the release's name, which becomes active."""
    bank = open_bank(f"lmdb://{tmp_path / 'bank'}")
    manifest = publish_release(release, bank)
    assert bank.active() == manifest.release
    profiles = pl.read_parquet(release / "profiles.parquet")
    found = bank.get_many(manifest.release, profiles["user_id"].to_list())
    assert [(record.row, *record.codes) for record in found] == list(profiles.drop("user_id").iter_rows())  # type: ignore[union-attr]
    assert bank.get_many(manifest.release, ["nobody"]) == [None]
    bank.close()


def test_without_activation_the_pointer_stays(release: Path, tmp_path: Path) -> None:
    """`--no-activate`: the records are there, the active release is unchanged."""
    bank = open_bank(f"lmdb://{tmp_path / 'bank'}")
    manifest = publish_release(release, bank, activate=False)
    assert bank.active() is None
    assert [info.name for info in bank.releases()] == [manifest.release]
    bank.close()


def _rewrite(release: Path, profiles: pl.DataFrame) -> None:
    """Put other profiles into the release, hash included, as a faulty exporter would."""
    profiles.write_parquet(release / "profiles.parquet")
    raw = json.loads((release / "manifest.json").read_text())
    raw["files"]["profiles.parquet"] = sha256_of(release / "profiles.parquet")
    (release / "manifest.json").write_text(Manifest.model_validate_json(json.dumps(raw)).model_dump_json())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hobby": pl.lit(3, pl.UInt16)}, "column hobby"),
        ({"row": pl.lit(61, pl.UInt32)}, "column row"),
        ({"more": pl.lit(0, pl.UInt16)}, "columns"),
    ],
)
def test_impossible_profiles_are_not_published(
    release: Path, tmp_path: Path, change: dict[str, pl.Expr], message: str
) -> None:
    """A code beyond its codebook, a row beyond the users, other columns: the bank stays empty."""
    bank = open_bank(f"lmdb://{tmp_path / 'bank'}")
    _rewrite(release, pl.read_parquet(release / "profiles.parquet").with_columns(**change))
    with pytest.raises(ReleaseError, match=message):
        publish_release(release, bank)
    assert bank.releases() == []
    bank.close()


def test_unknown_codes_pass(release: Path, tmp_path: Path) -> None:
    """65535 is no code beyond the codebook: it is how a record says unknown."""
    bank = open_bank(f"lmdb://{tmp_path / 'bank'}")
    unknown = pl.lit(UNKNOWN_CODE, pl.UInt16)
    _rewrite(release, pl.read_parquet(release / "profiles.parquet").with_columns(hobby=unknown))
    name = publish_release(release, bank).release
    record = bank.get_many(name, ["u0"])[0]
    assert np.uint16(record.codes[1]) == UNKNOWN_CODE  # type: ignore[union-attr]
    assert read_manifest(release).release == name
    bank.close()


def _with_vectors(release: Path, vectors: NDArray[Any] | bytes | None, width: int = 3) -> None:
    """Make the release one that serves `width` floats per user, hash included."""
    raw = json.loads((release / "manifest.json").read_text())
    if vectors is not None:
        if isinstance(vectors, bytes):
            (release / "vectors.npy").write_bytes(vectors)
        else:
            np.save(release / "vectors.npy", vectors)
        raw["files"]["vectors.npy"] = sha256_of(release / "vectors.npy")
    (release / "manifest.json").write_text(json.dumps(raw | {"vector": width}))


def test_vectors_are_published_in_the_order_of_the_profiles(release: Path, tmp_path: Path) -> None:
    """The record of the user in line k of profiles.parquet carries line k of vectors.npy, bit for bit."""
    users = pl.read_parquet(release / "profiles.parquet")["user_id"].to_list()
    vectors = np.random.default_rng(5).normal(size=(len(users), 3)).astype(np.float32)
    _with_vectors(release, vectors)
    bank = open_bank(f"lmdb://{tmp_path / 'bank'}")
    name = publish_release(release, bank).release
    found = [record.vector for record in bank.get_many(name, users)]  # type: ignore[union-attr]
    assert found == [struct.pack("<3f", *vector) for vector in vectors.tolist()]
    bank.close()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (None, r"vectors\.npy: not there"),
        (b"nothing of the kind", r"vectors\.npy: not a \.npy file"),
        (np.zeros((60, 3)), r"vectors\.npy: float64 \(60, 3\), expected float32 \(60, 3\)"),
        (np.zeros((60, 2), np.float32), r"float32 \(60, 2\), expected float32 \(60, 3\)"),
        (np.zeros((59, 3), np.float32), r"float32 \(59, 3\), expected float32 \(60, 3\)"),
        (np.where(np.arange(60)[:, None] == 41, np.nan, 1).repeat(3, axis=1).astype(np.float32), "line 41"),
    ],
)
def test_impossible_vectors_are_not_published(
    release: Path, tmp_path: Path, vectors: NDArray[Any] | bytes | None, message: str
) -> None:
    """Missing, of another kind, type or shape, or not finite: the error says which, and the bank stays empty."""
    bank = open_bank(f"lmdb://{tmp_path / 'bank'}")
    _with_vectors(release, vectors)
    with pytest.raises(ReleaseError, match=message):
        publish_release(release, bank)
    assert bank.releases() == []
    bank.close()
