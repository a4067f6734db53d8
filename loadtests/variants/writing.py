"""An ordinary release directory from a network that was never fitted."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from userip.files import directory_beside
from userip.loadtests.variants.networks import Built
from userip.loadtests.variants.shop import Shop
from userip.models.graphs.graph import FieldRoles, Rows, ScorerGraph
from userip.models.recommenders.dcn_graph import fold_dcn
from userip.models.recommenders.kar import KarDCN
from userip.models.recommenders.kar_graph import kar_prestored_onnx, prestored_users
from userip.release.manifest import PROFILES, CodeDescription, Facet
from userip.release.writer import ReleaseWriter
from userip.training.export.tables import field_specs, roles_of

KarGraph = Callable[[KarDCN, FieldRoles, Rows, Rows], ScorerGraph]


def write_variant(
    directory: Path, name: str, shop: Shop, built: Built, recipe: Mapping[str, Any], graph: KarGraph | None
) -> None:
    """Write beside `directory`, which must not exist, then rename. `graph` writes KAR's, None the folded DCN's."""
    roles, catalogue, vectors = roles_of(built.encoder), shop.catalogue, None
    if graph is None:
        made = fold_dcn(built.model, roles, catalogue.rows)
    else:
        assert isinstance(built.model, KarDCN)
        made = graph(built.model, roles, catalogue.rows, np.arange(len(catalogue.rows)))
        # Line k of the profiles is row k + 1 of the network's table: row 0 is for users without a text.
        stored = prestored_users(built.model) if graph is kar_prestored_onnx else built.model.user_vectors.numpy()
        vectors = np.ascontiguousarray(stored[1:])
    facets = [field for field in built.encoder.fields if field.source == "code"]
    with directory_beside(directory) as writing:
        writer = ReleaseWriter(writing)
        writer.graph(made.model, made.tables)
        writer.items(catalogue.ids)
        if vectors is not None:
            writer.vectors(vectors)
        built.profiles.write_parquet(writing / PROFILES)
        writer.finish(
            name,
            datetime.now(UTC),
            fields=field_specs(built.encoder, len(catalogue.rows)),
            facets=[_facet(slot, field.name, field.codes or 0) for slot, field in enumerate(facets)],
            dataset=dict(shop.dataset),
            method={"name": name, "weights": "random, never fitted", "recipe": dict(recipe)},
            users=built.profiles.height,
            vector=0 if vectors is None else vectors.shape[1],
            metrics={},
        )


def _facet(slot: int, name: str, size: int) -> Facet:
    codes = [CodeDescription(description=(f"{name} {code}",), items=(), share=1 / size) for code in range(size)]
    return Facet(name=name, slot=slot, codebook_size=size, codes=tuple(codes))
