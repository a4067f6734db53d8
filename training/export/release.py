"""Write a release directory: everything that the service and `publish` need, with a hash of every file."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from userip.files import directory_beside
from userip.models.graphs.plain import plain_onnx
from userip.models.recommenders import RECOMMENDERS
from userip.release.graph_allowlist import refuse_unsafe
from userip.release.manifest import CODEBOOKS, CONFIG, METRICS, PROFILES, Facet, Manifest
from userip.release.writer import ReleaseWriter
from userip.training.export.config import ExportConfig
from userip.training.export.describe import collect_votes, describe
from userip.training.export.golden import golden_requests
from userip.training.export.tables import catalogue_of, field_specs, profiles_of, roles_of
from userip.training.export.verify import verify_release
from userip.training.recommender.fit import FittedRecommender


@dataclass(frozen=True)
class Origin:
    """What a release says of where it comes from.

    method     the profile method, the control or the recommender; details for the manifest in `details`
    metrics    the content of metrics.json
    config     the resolved configuration, as TOML
    codebooks  the codebooks' file, None without codes
    said       facet -> what the method says of each of its codes; an empty text for nothing
    """

    method: str
    metrics: Mapping[str, Any]
    config: str
    codebooks: Path | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    said: Mapping[str, Sequence[str]] = field(default_factory=dict)


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
    with directory_beside(directory) as writing:
        manifest = _write(ReleaseWriter(writing), fitted, origin, config, now or datetime.now(UTC))
        return manifest, verify_release(writing, fitted, config.check_rows)


def _write(
    writer: ReleaseWriter, fitted: FittedRecommender, origin: Origin, config: ExportConfig, now: datetime
) -> Manifest:
    catalogue, roles = catalogue_of(fitted), roles_of(fitted.encoder)
    fold = RECOMMENDERS[fitted.config.recommender].fold
    if fold is None:
        graph = plain_onnx(fitted.model, len(fitted.encoder.fields))
        writer.item_fields(catalogue.rows)
    else:
        graph = fold(fitted.model, roles, catalogue.rows)
    refuse_unsafe(graph.model, f"fit.recommender {fitted.config.recommender!r}")
    writer.graph(graph.model, graph.tables)
    writer.items(catalogue.ids)
    profiles = profiles_of(fitted)
    profiles.write_parquet(writer.directory / PROFILES)
    writer.golden(golden_requests(fitted, profiles, catalogue.ids))
    if origin.codebooks is not None:
        shutil.copyfile(origin.codebooks, writer.directory / CODEBOOKS)
    writer.text(CONFIG, origin.config)
    writer.text(METRICS, json.dumps(origin.metrics, indent=1))

    info = fitted.dataset.info
    return writer.finish(
        config.name or f"{info.name}-{origin.method}",
        now,
        fields=field_specs(fitted.encoder, len(catalogue.rows)),
        facets=_facets(fitted, config, origin.said),
        dataset=info.model_dump(
            mode="json",
            include={"name", "split", "seed", "split_hash", "positive_above", "min_interactions", "counts"},
        ),
        method={
            "name": origin.method,
            "codes": fitted.config.codes,
            "recommender": fitted.config.model_dump(mode="json"),
            "seed": fitted.seed,
            **origin.details,
        },
        users=profiles.height,
        metrics=origin.metrics,
    )


def _facets(fitted: FittedRecommender, config: ExportConfig, said: Mapping[str, Sequence[str]]) -> list[Facet]:
    if fitted.codes is None:
        return []
    votes = collect_votes(fitted.dataset)
    return [
        Facet(
            name=name,
            slot=slot,
            codebook_size=size,
            codes=describe(fitted.dataset, votes, fitted.codes, name, config, said.get(name, ())),
        )
        for slot, (name, size) in enumerate(fitted.codes.sizes.items())
    ]
