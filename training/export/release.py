"""Write a release directory: everything that the service and `publish` need, with a hash of every file."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from userip.models.recommenders import RECOMMENDERS
from userip.release.golden import GOLDEN
from userip.release.manifest import FORMAT_VERSION, ITEMS, MANIFEST, PROFILES, Facet, Manifest, sha256_of
from userip.training.export.config import ExportConfig
from userip.training.export.describe import collect_votes, describe
from userip.training.export.golden import golden_requests
from userip.training.export.tables import catalogue_of, field_specs, profiles_of, roles_of, write_graph, write_items
from userip.training.export.verify import ExportError, verify_release
from userip.training.recommender.fit import FittedRecommender

CODEBOOKS: Final = "codebooks.safetensors"
CONFIG: Final = "config.toml"
METRICS: Final = "metrics.json"


@dataclass(frozen=True)
class Origin:
    """What a release says of where it comes from.

    method     the profile method, e.g. "userip"; details for the manifest in `details`
    metrics    the content of metrics.json
    config     the resolved configuration, as TOML
    codebooks  the codebooks' file, None without codes
    """

    method: str
    metrics: Mapping[str, Any]
    config: str
    codebooks: Path | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def write_release(
    directory: Path,
    fitted: FittedRecommender,
    origin: Origin,
    config: ExportConfig,
    now: datetime | None = None,
) -> tuple[Manifest, float]:
    """Write, verify, then move to `directory`, which must not exist or be empty.

    The same recommender gives the same bytes but for the manifest's `created`. Returns the manifest and the
    largest difference of a probability from torch. Raises ExportError when that is over 1e-5.
    """
    beside = directory.with_name(directory.name + ".writing")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    manifest = _write(beside, fitted, origin, config, now or datetime.now(UTC))
    difference = verify_release(beside, fitted, config.check_rows)
    os.replace(beside, directory)
    return manifest, difference


def _write(beside: Path, fitted: FittedRecommender, origin: Origin, config: ExportConfig, now: datetime) -> Manifest:
    catalogue, roles = catalogue_of(fitted), roles_of(fitted.encoder)
    fold = RECOMMENDERS[fitted.config.recommender].fold
    if fold is None:
        raise ExportError(f"fit.recommender: a {fitted.config.recommender} cannot be exported; choose 'dcn'")
    tables = write_graph(fold(fitted.model, roles, catalogue.rows), beside)
    write_items(catalogue.ids, beside / ITEMS)
    profiles = profiles_of(fitted)
    profiles.write_parquet(beside / PROFILES)
    golden = golden_requests(fitted, profiles, catalogue.ids)
    (beside / GOLDEN).write_text(golden.model_dump_json(indent=1), encoding="utf-8")
    if origin.codebooks is not None:
        shutil.copyfile(origin.codebooks, beside / CODEBOOKS)
    (beside / CONFIG).write_text(origin.config, encoding="utf-8")
    (beside / METRICS).write_text(json.dumps(origin.metrics, indent=1), encoding="utf-8")

    info = fitted.dataset.info
    content: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "dataset": info.model_dump(
            mode="json",
            include={"name", "split", "seed", "split_hash", "positive_above", "min_interactions", "counts"},
        ),
        "method": {
            "name": origin.method,
            "codes": fitted.config.codes,
            "recommender": fitted.config.model_dump(mode="json"),
            "seed": fitted.seed,
            **origin.details,
        },
        "fields": [spec.model_dump(mode="json") for spec in field_specs(fitted.encoder, len(catalogue.rows))],
        "facets": [facet.model_dump(mode="json") for facet in _facets(fitted, config)],
        "users": profiles.height,
        "items": len(catalogue.ids),
        "tables": tables,
        "metrics": origin.metrics,
        "files": {path.name: sha256_of(path) for path in sorted(beside.iterdir())},
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    start = config.name or f"{info.name}-{origin.method}"
    manifest = Manifest(release=f"{start}-{digest[:8]}", created=now.isoformat(timespec="seconds"), **content)
    (beside / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    return manifest


def _facets(fitted: FittedRecommender, config: ExportConfig) -> list[Facet]:
    if fitted.codes is None:
        return []
    votes = collect_votes(fitted.dataset)
    return [
        Facet(
            name=name,
            slot=slot,
            codebook_size=size,
            codes=describe(fitted.dataset, votes, fitted.codes, name, config),
        )
        for slot, (name, size) in enumerate(fitted.codes.sizes.items())
    ]
