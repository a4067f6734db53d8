"""Writing a release directory: every file but profiles.parquet, whose table its maker writes by its own library."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from userip.release.golden import GOLDEN, Golden
from userip.release.manifest import (
    FORMAT_VERSION,
    ITEM_FIELDS,
    ITEMS,
    MANIFEST,
    SCORER,
    VECTORS,
    Facet,
    FieldSpec,
    Manifest,
    sha256_of,
)


class ReleaseWriter:
    """The parts of a release, into an empty `directory`; then `finish`, which names and hashes all that lies there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._tables: dict[str, str] = {}
        self._items = 0
        self._kind: dict[str, str] = {}

    def graph(self, model: bytes, tables: Mapping[str, NDArray[np.float32]]) -> None:
        """Write scorer.onnx and a NAME.npy for each of its tables."""
        (self.directory / SCORER).write_bytes(model)
        for name, table in tables.items():
            self._tables[name] = f"{name}.npy"
            np.save(self.directory / self._tables[name], table, allow_pickle=False)

    def items(self, ids: Sequence[str]) -> None:
        """Write items.npz: `blob` uint8, the UTF-8 ids one after the other, and `offsets` int64 [n + 1]."""
        encoded = [item.encode() for item in ids]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        with (self.directory / ITEMS).open("wb") as stream:
            np.savez(stream, blob=np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets=offsets)
        self._items = len(ids)

    def item_fields(self, rows: NDArray[np.int64]) -> None:
        """Write item_fields.npy, beside a graph that is plain: int64 [n + 1, 1 + item fields], line 0 all 0."""
        np.save(self.directory / ITEM_FIELDS, rows, allow_pickle=False)
        self._kind = {"graph": "plain"}

    def vectors(self, vectors: NDArray[np.float32]) -> None:
        """Write vectors.npy: float32 [users, V], in the order of profiles.parquet."""
        np.save(self.directory / VECTORS, vectors, allow_pickle=False)

    def golden(self, golden: Golden) -> None:
        """Write golden.json."""
        self.text(GOLDEN, golden.model_dump_json(indent=1))

    def text(self, name: str, text: str) -> None:
        """Write a file of text, for people."""
        (self.directory / name).write_text(text, encoding="utf-8")

    def finish(
        self,
        name: str,
        created: datetime,
        *,
        fields: Sequence[FieldSpec],
        facets: Sequence[Facet],
        **said: Any,  # noqa: ANN401  (what else the manifest has)
    ) -> Manifest:
        """Write manifest.json. The release is called `name` and eight digits of a hash of all that it is."""
        content: dict[str, Any] = {
            "format": FORMAT_VERSION,
            "fields": [field.model_dump(mode="json") for field in fields],
            "facets": [facet.model_dump(mode="json") for facet in facets],
            "items": self._items,
            "tables": self._tables,
            "files": {path.name: sha256_of(path) for path in sorted(self.directory.iterdir())},
            **self._kind,
            **said,
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        manifest = Manifest(release=f"{name}-{digest[:8]}", created=created.isoformat(timespec="seconds"), **content)
        self.text(MANIFEST, manifest.model_dump_json(indent=1))
        return manifest
