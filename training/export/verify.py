"""Hold a written release against torch: read it as the service does, score a sample, compare."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray

from userip.bank.record import UNKNOWN_CODE, rows_of_codes
from userip.release.field_rows import FieldRows
from userip.release.golden import read_golden
from userip.release.items import read_item_rows
from userip.release.manifest import ITEMS, PROFILES, SCORER, Manifest, read_manifest
from userip.release.tables import map_tables
from userip.training.errors import TrainingError
from userip.training.recommender.fit import FittedRecommender

TOLERANCE: Final = 1e-5


class ExportError(TrainingError):
    """The release that was written does not say what the recommender says. Nothing is released."""


def verify_release(directory: Path, fitted: FittedRecommender, rows: int) -> float:
    """The largest difference of a probability between the release and torch, over train and valid rows.

    Everything is taken from the files: hashes, item rows, profiles, graph. A stranger and an unknown item
    are in the sample; the golden requests are asked as well. Raises ExportError when the difference is over 1e-5,
    ReleaseError when the directory is unsound.
    """
    manifest = read_manifest(directory)
    sample = _sample(fitted, rows)
    served = _score(directory, manifest, sample)
    differences = np.concatenate([served - fitted.predict(sample), _golden_differences(directory, manifest)])
    difference = float(np.abs(differences).max())
    if not difference <= TOLERANCE:  # a NaN is refused as well
        raise ExportError(f"{directory / SCORER}: off by {difference:.2e} from torch, over {TOLERANCE:g}; not released")
    return difference


def _sample(fitted: FittedRecommender, rows: int) -> pl.DataFrame:
    """Evenly spaced rows, then the first again as an unknown user, as an unknown item, and as both."""
    all_rows = fitted.dataset.rows("train", "valid")
    spaced = all_rows.gather_every(max(all_rows.height // rows, 1)).head(rows)
    nobody, nothing = pl.lit("\x00nobody").alias("user_id"), pl.lit("\x00nothing").alias("item_id")
    names = [field.name for field in fitted.encoder.fields if field.source == "user"]
    stranger = [nobody, *(pl.lit(None, pl.String).alias(name) for name in names)]
    first = spaced.head(1)
    return pl.concat(
        [
            spaced,
            first.with_columns(stranger),
            first.with_columns(nothing),
            first.with_columns(*stranger, nothing),
        ]
    )


def _score(directory: Path, manifest: Manifest, sample: pl.DataFrame) -> NDArray[np.float32]:
    """Score one candidate per request with the files alone."""
    profiles = pl.read_parquet(directory / PROFILES)
    found = sample.select("user_id").join(profiles, on="user_id", how="left", maintain_order="left")
    slots = [field.name for field in manifest.slot_fields]
    return _run(
        directory,
        manifest,
        sample["item_id"],
        np.arange(sample.height),
        found["row"].fill_null(0).cast(pl.Int64).to_numpy(),
        found.select(pl.col(slots).cast(pl.Int64).fill_null(UNKNOWN_CODE)).to_numpy(),
        [sample[field.name] for field in manifest.contexts],
    )


def _golden_differences(directory: Path, manifest: Manifest) -> NDArray[np.float64]:
    """What the graph gives less what golden.json says, of every candidate of every golden request."""
    golden = read_golden(directory, manifest)
    assert golden is not None, "an export records golden requests"
    requests, nobody = golden.requests, (UNKNOWN_CODE,) * manifest.slots
    served = _run(
        directory,
        manifest,
        [item for request in requests for item in request.items],
        np.repeat(np.arange(len(requests)), [len(request.items) for request in requests]),
        np.asarray([request.row for request in requests], dtype=np.int64),
        np.asarray([nobody if request.codes is None else request.codes for request in requests], np.int64),
        [
            pl.Series([request.context.get(field.name) for request in requests], dtype=pl.String)
            for field in manifest.contexts
        ],
    )
    differences: NDArray[np.float64] = served - np.asarray([p for request in requests for p in request.probabilities])
    return differences


def _run(
    directory: Path,
    manifest: Manifest,
    items: Iterable[str],
    request: NDArray[np.int64],
    users: NDArray[np.int64],
    codes: NDArray[np.int64],
    contexts: Sequence[pl.Series],
) -> NDArray[np.float32]:
    """Probabilities of items [n], of which `request` [n] says the request; users [R], codes [R, K] and contexts [R]."""
    known = read_item_rows((directory / ITEMS).read_bytes(), manifest.items, directory / ITEMS)
    feed: dict[str, NDArray[Any]] = {
        "items": np.asarray([known.get(item, 0) for item in items], dtype=np.int64), "request": request,
    }  # fmt: skip
    if any(field.source == "user_row" for field in manifest.fields):
        feed["user"] = users
    if manifest.slots:
        feed["slots"] = rows_of_codes(codes)
    if contexts:
        columns = zip(contexts, manifest.contexts, strict=True)
        feed["context"] = np.stack([_context(said, field.values or ()) for said, field in columns], axis=1)
    if manifest.graph == "plain":
        feed = {"rows": FieldRows.read(directory, manifest)(feed)}
    feed = feed | map_tables(directory, manifest)
    session = ort.InferenceSession((directory / SCORER).read_bytes(), providers=["CPUExecutionProvider"])
    scores: NDArray[np.float32] = session.run(["probability"], feed)[0]
    return scores


def _context(column: pl.Series, values: tuple[str, ...]) -> NDArray[np.int64]:
    rows = {value: row for row, value in enumerate(values, start=1)}
    return np.asarray([rows.get(value, 0) for value in column], dtype=np.int64)
