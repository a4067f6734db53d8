"""The export step: from RUN/quantize and RUN/fit to RUN/release."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from tests.training.toy import toy_codes, toy_dataset
from userip.release.manifest import read_manifest
from userip.training.data.dataset import Dataset
from userip.training.errors import DataError
from userip.training.export.config import ExportConfig
from userip.training.export.step import run_export
from userip.training.methods.config import ProfileConfig
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.step import run_fit


def _config(codes: str) -> tuple[ProfileConfig, RecommenderConfig, ExportConfig]:
    return ProfileConfig(), RecommenderConfig(batch=128, epochs=1, codes=codes), ExportConfig()  # type: ignore[arg-type]


def _run(dataset: Dataset, run: Path, codes: str) -> Path:
    for step in ("quantize", "fit"):
        (run / step).mkdir(parents=True)
    table = toy_codes(dataset)
    table.frame.write_parquet(run / "quantize" / "codes.parquet")
    summary = {"facets": list(table.facets), "split_hash": dataset.split_hash, "method": "userip"}
    (run / "quantize" / "quantize.json").write_text(json.dumps(summary))
    save_file(
        {f"{facet}.codes": torch.zeros(4, 2) for facet in ProfileConfig().sizes},
        run / "quantize" / "codebooks.safetensors",
    )
    (run / "config.toml").write_text("seed = 1\n")
    run_fit(dataset, run, run / "fit", _config(codes)[1], seed=1)
    return run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "set", split="users", users=60)


@pytest.mark.parametrize(
    ("codes", "method"),
    [("profile", "userip"), ("none", "dcn"), ("constant", "constant"), ("shuffled", "shuffled")],
)
def test_a_run_becomes_a_release(dataset: Dataset, tmp_path: Path, codes: str, method: str) -> None:
    """With the profile's codes, none, or a control; metrics, configuration and codebooks come along."""
    run = _run(dataset, tmp_path, codes)
    (run / "release").mkdir()
    figures = run_export(dataset, run, run / "release", *_config(codes), seed=1)
    manifest = read_manifest(run / "release")
    assert manifest.release == figures["release"]
    assert manifest.release.startswith(f"toy-{method}-")
    assert figures["largest_difference_from_torch"] <= 1e-5
    assert manifest.metrics == json.loads((run / "fit" / "metrics.json").read_text())
    assert (run / "release" / "config.toml").read_text() == "seed = 1\n"
    assert ("codebooks.safetensors" in manifest.files) == (codes != "none")
    hobby = pl.read_parquet(run / "release" / "profiles.parquet")
    if codes == "constant":
        assert hobby["hobby"].unique().to_list() == [0]


def test_an_interrupted_attempt_is_written_over(dataset: Dataset, tmp_path: Path) -> None:
    """The run's own mark in RUN/release.partial is left to it; half a release from before is replaced."""
    run, out = _run(dataset, tmp_path, "none"), tmp_path / "release.partial"
    (out / "built").mkdir(parents=True)
    (out / "built" / "scorer.onnx").write_bytes(b"half")
    (out / "scorer.onnx").write_bytes(b"half")
    (out / "started").write_text("mark")
    run_export(dataset, run, out, *_config("none"), seed=1)
    assert (out / "started").read_text() == "mark"
    (out / "started").unlink()
    assert read_manifest(out).users == 60


def test_a_missing_step_is_named(dataset: Dataset, tmp_path: Path) -> None:
    """Export before fit says which command comes first."""
    with pytest.raises(DataError, match="userip fit"):
        run_export(dataset, tmp_path, tmp_path / "release", *_config("none"), seed=1)
