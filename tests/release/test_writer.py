"""A release directory that is written reads back, with an independent look at the bytes."""

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from userip.release.errors import ReleaseError
from userip.release.golden import Golden, GoldenRequest, read_golden
from userip.release.items import read_item_rows
from userip.release.manifest import FieldSpec, Manifest, read_manifest
from userip.release.tables import map_tables, map_vectors
from userip.release.writer import ReleaseWriter

IDS = ["b", "Zoë", ""]
GOLDEN = Golden(requests=(GoldenRequest(row=0, codes=None, items=("b",), context={}, probabilities=(0.5,)),))


def write(directory: Path) -> Manifest:
    """A release without fields but the items', with everything that a release can have."""
    directory.mkdir()
    writer = ReleaseWriter(directory)
    writer.graph(b"any bytes", {"item_table": np.arange(8, dtype=np.float32).reshape(4, 2)})
    writer.items(IDS)
    writer.vectors(np.ones((2, 3), np.float32))
    writer.golden(GOLDEN)
    writer.text("metrics.json", "{}")
    field = FieldSpec(name="item_id", source="item_row", size=4)
    created = datetime(2026, 1, 2, tzinfo=UTC)
    said = {"dataset": {"name": "toy"}, "method": {"name": "m"}, "users": 2, "vector": 3, "metrics": {}}
    return writer.finish("toy-m", created, fields=[field], facets=[], **said)


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    """Manifest, items, tables, vectors and golden requests are those that were given."""
    written = write(tmp_path / "a")
    manifest = read_manifest(tmp_path / "a")
    assert manifest == written
    assert manifest.created == "2026-01-02T00:00:00+00:00"
    items = tmp_path / "a" / "items.npz"
    assert read_item_rows(items.read_bytes(), manifest.items, items) == {"b": 1, "Zoë": 2, "": 3}
    assert map_tables(tmp_path / "a", manifest)["item_table"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert map_vectors(tmp_path / "a", manifest) is not None
    assert read_golden(tmp_path / "a", manifest) == GOLDEN


def test_the_name_ends_in_a_hash_of_what_the_release_is(tmp_path: Path) -> None:
    """Eight digits of the SHA-256 of the manifest without name and time; the same content has the same name."""
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    content = json.loads((tmp_path / "a" / "manifest.json").read_text())
    del content["release"], content["created"]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert first.release == second.release == f"toy-m-{digest[:8]}"
    for name, expected in first.files.items():
        assert hashlib.sha256((tmp_path / "a" / name).read_bytes()).hexdigest() == expected


def test_a_file_that_changes_after_the_manifest_was_read_is_refused(tmp_path: Path) -> None:
    """Golden requests are hashed once more when they are used."""
    manifest = write(tmp_path / "a")
    (tmp_path / "a" / "golden.json").write_text('{"requests": []}')
    with pytest.raises(ReleaseError, match=r"golden.json: sha256 differs from manifest.json"):
        read_golden(tmp_path / "a", manifest)


@pytest.mark.parametrize(
    "name", ["golden.json", "item_table.npy", "items.npz", "metrics.json", "scorer.onnx", "vectors.npy"]
)
def test_every_altered_file_is_refused(tmp_path: Path, name: str) -> None:
    """Its last bit is enough, of a table as of a text: when the release is checked, and when it is used."""
    manifest = write(tmp_path / "a")
    assert name in manifest.files
    content = bytearray((tmp_path / "a" / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / "a" / name).write_bytes(content)
    refused = re.escape(name) + ": sha256 differs from manifest.json"
    with pytest.raises(ReleaseError, match=refused):
        read_manifest(tmp_path / "a")
    if name.endswith(".npy"):
        use = map_tables if name in manifest.tables.values() else map_vectors
        with pytest.raises(ReleaseError, match=refused):
            use(tmp_path / "a", manifest)
