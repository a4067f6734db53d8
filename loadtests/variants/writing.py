"""An ordinary release directory from a network that was never fitted."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from userip.loadtests.variants.networks import Built
from userip.loadtests.variants.shop import Shop
from userip.models.graphs.graph import FieldRoles, Float32, Rows, ScorerGraph
from userip.models.recommenders.dcn_graph import fold_dcn
from userip.models.recommenders.kar import KarDCN
from userip.models.recommenders.kar_graph import kar_prestored_onnx, prestored_users
from userip.ops.publish import VECTORS
from userip.release.manifest import (
    FORMAT_VERSION,
    ITEMS,
    MANIFEST,
    PROFILES,
    CodeDescription,
    Facet,
    Manifest,
    sha256_of,
)
from userip.training.export.tables import field_specs, roles_of, write_graph, write_items

KarGraph = Callable[[KarDCN, FieldRoles, Rows, Rows], ScorerGraph]


def write_variant(
    directory: Path, name: str, shop: Shop, built: Built, recipe: Mapping[str, Any], graph: KarGraph | None
) -> None:
    """Write beside `directory`, which must not exist, then rename. `graph` writes KAR's, None the folded DCN's."""
    beside = directory.with_name(directory.name + ".writing")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    roles, catalogue = roles_of(built.encoder), shop.catalogue
    vectors: Float32 | None = None
    if graph is None:
        made = fold_dcn(built.model, roles, catalogue.rows)
    else:
        assert isinstance(built.model, KarDCN)
        made = graph(built.model, roles, catalogue.rows, np.arange(len(catalogue.rows)))
        # Line k of the profiles is row k + 1 of the network's table: row 0 is for users without a text.
        stored = prestored_users(built.model) if graph is kar_prestored_onnx else built.model.user_vectors.numpy()
        vectors = np.ascontiguousarray(stored[1:])
        np.save(beside / VECTORS, vectors, allow_pickle=False)
    tables = write_graph(made, beside)
    write_items(catalogue.ids, beside / ITEMS)
    built.profiles.write_parquet(beside / PROFILES)
    facets = [field for field in built.encoder.fields if field.source == "code"]
    content: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "dataset": dict(shop.dataset),
        "method": {"name": name, "weights": "random, never fitted", "recipe": dict(recipe)},
        "fields": [spec.model_dump(mode="json") for spec in field_specs(built.encoder, len(catalogue.rows))],
        "facets": [_facet(slot, f.name, f.codes or 0).model_dump(mode="json") for slot, f in enumerate(facets)],
        "users": built.profiles.height,
        "items": len(catalogue.ids),
        "vector": 0 if vectors is None else vectors.shape[1],
        "tables": tables,
        "metrics": {},
        "files": {path.name: sha256_of(path) for path in sorted(beside.iterdir())},
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Manifest(release=f"{name}-{digest[:8]}", created=created, **content)
    (beside / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    os.replace(beside, directory)


def _facet(slot: int, name: str, size: int) -> Facet:
    codes = [CodeDescription(description=(f"{name} {code}",), items=(), share=1 / size) for code in range(size)]
    return Facet(name=name, slot=slot, codebook_size=size, codes=tuple(codes))
