"""The export step: RUN/fit and RUN/quantize become RUN/release."""

import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from userip.release.manifest import CODEBOOKS, CONFIG, METRICS
from userip.training.data.dataset import Dataset
from userip.training.export.config import ExportConfig
from userip.training.export.release import Origin, write_release
from userip.training.files import read_json
from userip.training.methods.config import ProfileConfig
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.storage import read_recommender


def run_export(
    dataset: Dataset,
    run: Path,
    out: Path,
    profile: ProfileConfig,
    fit: RecommenderConfig,
    export: ExportConfig,
    seed: int,
) -> dict[str, Any]:
    """Write the release into `out` and return its figures. No other file may stand beside it when it is used.

    Raises ExportError when the graph is off by more than 1e-5, DataError for a missing result of an earlier
    step.
    """
    with_codes = fit.codes != "none"
    codes = CodeTable.read(run / "quantize", dataset.split_hash) if with_codes else None
    fitted = read_recommender(run / "fit", dataset, codes)
    origin = Origin(
        method=method_name(fitted.config, codes),
        metrics=read_json(run / "fit" / METRICS, "fit"),
        config=(run / CONFIG).read_text(encoding="utf-8"),
        codebooks=run / "quantize" / CODEBOOKS if codes is not None else None,
        details={"run_seed": seed},
        said=_said(run, profile) if fit.codes == "profile" else {},
    )
    built = out / "built"
    shutil.rmtree(built, ignore_errors=True)
    manifest, difference = write_release(built, fitted, origin, export)
    # The run keeps a mark of its own in `out`, and a release must be alone in its directory while it is verified.
    for file in built.iterdir():
        file.replace(out / file.name)
    built.rmdir()
    return {
        "release": manifest.release,
        "users": manifest.users,
        "items": manifest.items,
        "largest_difference_from_torch": difference,
    }


def method_name(fit: RecommenderConfig, codes: CodeTable | None) -> str:
    """What a release's name and manifest state: the profile method, the control, or the recommender alone."""
    if codes is None:
        return fit.recommender
    return codes.method if fit.codes == "profile" else fit.codes


def _said(run: Path, profile: ProfileConfig) -> dict[str, tuple[str, ...]]:
    """What the method says of every code of each facet."""
    books = load_file(run / "quantize" / CODEBOOKS)
    describe = profile.profile_method.describe
    return {facet: describe(run / "infer", facet, books[f"{facet}.codes"]) for facet in profile.sizes}
