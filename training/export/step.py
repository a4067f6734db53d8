"""The export step: RUN/fit and RUN/quantize become RUN/release."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from userip.release.manifest import CODEBOOKS, CONFIG, METRICS
from userip.training.data.dataset import Dataset
from userip.training.export.release import Origin, write_release
from userip.training.files import read_json
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.storage import read_recommender

if TYPE_CHECKING:
    from userip.training.config import TrainConfig


def run_export(dataset: Dataset, run: Path, out: Path, config: "TrainConfig", seed: int) -> dict[str, Any]:
    """Write the release into `out` and return its figures. No other file may stand beside it when it is used.

    Raises ExportError when the graph is off by more than 1e-5, DataError for a missing result of an earlier
    step.
    """
    with_codes = config.fit.codes != "none"
    codes = CodeTable.read(run / "quantize", dataset.split_hash) if with_codes else None
    fitted = read_recommender(run / "fit", dataset, codes)
    origin = Origin(
        method=method_name(fitted.config, codes),
        metrics=read_json(run / "fit" / METRICS, "fit"),
        config=_resolved(run, config),
        codebooks=run / "quantize" / CODEBOOKS if codes is not None else None,
        details={"run_seed": seed},
    )
    built = out / "built"
    shutil.rmtree(built, ignore_errors=True)
    manifest, difference = write_release(built, fitted, origin, config.export)
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


def _resolved(run: Path, config: "TrainConfig") -> str:
    file = run / CONFIG
    if file.is_file():
        return file.read_text(encoding="utf-8")
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
