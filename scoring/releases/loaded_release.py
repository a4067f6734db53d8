"""A release directory, checked and loaded: everything that scoring needs besides the bank."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from userip.release.errors import ReleaseError
from userip.release.field_rows import FieldRows
from userip.release.graph_allowlist import refuse_unsafe
from userip.release.items import read_item_rows
from userip.release.manifest import ITEMS, MANIFEST, SCORER, FieldSpec, Manifest, read_manifest
from userip.release.tables import map_tables, read_file
from userip.scoring.scorer import PlainScorer, Scorer, Shape


@dataclass(frozen=True, slots=True)
class Release:
    """One loaded release. Never changed after loading: a swap replaces the whole object."""

    manifest: Manifest
    item_rows: dict[str, int]  # item id -> row of the graph's item table, 1..items; unknown ids have row 0
    context_rows: tuple[tuple[str, Mapping[str, int]], ...]  # per context field: name, value -> row
    scorer: Scorer
    loaded_at: float  # unix seconds
    golden: int = 0  # golden requests that it answered as recorded

    @property
    def name(self) -> str:
        """The release's name, under which the bank holds its records."""
        return self.manifest.release


def load_release(directory: Path, shared: Path | None = None) -> Release:
    """Read, check and load `directory`, which is not needed afterwards; `shared`: see `release.private_copy`.

    Raises ReleaseError, naming the file, for whatever does not fit, DiskFullError.
    """
    manifest = read_manifest(directory, verify="rest")
    where = directory / MANIFEST
    shape = _shape_of(manifest, where)
    model = read_file(directory, SCORER, manifest)
    refuse_unsafe(model, str(directory / SCORER))
    item_rows = read_item_rows(read_file(directory, ITEMS, manifest), manifest.items, directory / ITEMS)
    return Release(
        manifest=manifest,
        item_rows=item_rows,
        context_rows=tuple(
            (field.name, {value: row for row, value in enumerate(field.values or (), start=1)})
            for field in manifest.contexts
        ),
        scorer=_scorer(directory, manifest, model, shape, shared),
        loaded_at=time.time(),
    )


def _scorer(directory: Path, manifest: Manifest, model: bytes, shape: Shape, shared: Path | None) -> Scorer:
    tables, file = map_tables(directory, manifest, shared), str(directory / SCORER)
    if manifest.graph == "plain":
        return PlainScorer(model, shape, tables, FieldRows.read(directory, manifest, shared), file)
    return Scorer(model, shape, tables, file)


def _shape_of(manifest: Manifest, where: Path) -> Shape:
    by_source: dict[str, list[FieldSpec]] = {}
    for field in manifest.fields:
        by_source.setdefault(field.source, []).append(field)
    item_fields, user_fields = by_source.get("item_row", []), by_source.get("user_row", [])
    if len(item_fields) != 1 or len(user_fields) > 1:
        raise ReleaseError(f"{where}: fields: one item_row and at most one user_row are needed")
    if item_fields[0].size != manifest.items + 1:
        raise ReleaseError(f"{where}: fields: {item_fields[0].name} has size {item_fields[0].size}, not items + 1")
    for field in manifest.contexts:
        if field.values is None or len(set(field.values)) != len(field.values):
            raise ReleaseError(f"{where}: fields: {field.name} needs its values, each once")
        if field.size != len(field.values) + 1:
            raise ReleaseError(f"{where}: fields: {field.name} has {field.size} rows for {len(field.values)} values")
    return Shape(
        items=item_fields[0].size,
        user=user_fields[0].size if user_fields else None,
        slots=_slot_sizes(manifest, where),
        context=tuple(field.size for field in manifest.contexts),
        vector=manifest.vector,
    )


def _slot_sizes(manifest: Manifest, where: Path) -> tuple[int, ...]:
    slotted = {field.slot: field for field in manifest.fields if field.source in ("code", "user")}
    if len(slotted) != manifest.slots or set(slotted) != set(range(manifest.slots)):
        raise ReleaseError(f"{where}: fields: the slots of codes and user fields must be 0..{manifest.slots - 1}")
    facets = {facet.slot: facet for facet in manifest.facets}
    codes = {slot: field for slot, field in slotted.items() if field.source == "code"}
    if len(facets) != len(manifest.facets) or set(facets) != set(codes):
        raise ReleaseError(f"{where}: facets: their slots differ from those of the code fields")
    for slot, facet in facets.items():
        if codes[slot].size != facet.codebook_size + 1 or len(facet.codes) != facet.codebook_size:
            raise ReleaseError(f"{where}: facets: {facet.name} needs {facet.codebook_size} codes described")
    return tuple(slotted[slot].size for slot in range(manifest.slots))
