"""A manifest is data of a stranger: what it names stays in its directory, and what it holds is bounded."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from userip.release.errors import ReleaseError
from userip.release.manifest import MAX_MANIFEST_BYTES, read_manifest

CONTENT = {"scorer.onnx": b"graph", "items.npz": b"items"}
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


def write(directory: Path, **changes: Any) -> Path:  # noqa: ANN401  (any JSON)
    """A directory that is sound but for `changes`."""
    directory.mkdir(exist_ok=True)
    for name, content in CONTENT.items():
        (directory / name).write_bytes(content)
    manifest = {
        "format": 2, "release": "r", "created": "2025-01-01T00:00:00Z", "dataset": {}, "method": {}, "fields": [],
        "facets": [], "users": 0, "items": 0, "metrics": {}, "files": HASHES,
    }  # fmt: skip
    (directory / "manifest.json").write_text(json.dumps(manifest | changes))
    return directory


def test_sound_directory_is_read(tmp_path: Path) -> None:
    """Without harm nothing is refused, also where the directory itself is reached by a link, as deployments have it."""
    write(tmp_path / "r")
    (tmp_path / "current").symlink_to(tmp_path / "r")
    for place in ("r", "current"):
        assert read_manifest(tmp_path / place).files == HASHES


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "a/b", "a\\b", "..", ".", "", ".hidden", "a\x00b", "a\nb", "x" * 200]
)
def test_names_that_are_paths_are_refused(tmp_path: Path, name: str) -> None:
    """A manifest names files of its directory: nothing with a separator, and nothing that is no plain name."""
    (tmp_path / "outside").write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    with pytest.raises(ReleaseError, match=r"manifest\.json: files"):
        read_manifest(write(tmp_path / "r", files=HASHES | {name: digest}))
    with pytest.raises(ReleaseError, match=r"manifest\.json: tables"):
        read_manifest(write(tmp_path / "r", tables={"table": name}))


@pytest.mark.parametrize("name", ["scorer.onnx", "items.npz", "manifest.json"])
def test_links_are_refused(tmp_path: Path, name: str) -> None:
    """A file of a release is a file: a link could lead anywhere, and elsewhere tomorrow."""
    directory = write(tmp_path / "r")
    (directory / name).rename(tmp_path / "elsewhere")
    (directory / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReleaseError, match=f"{name}: a symbolic link"):
        read_manifest(directory)


def test_what_the_system_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    """A file or a loop where the directory belongs, and a directory where a file belongs: named, with the fix."""
    directory = write(tmp_path / "r")
    with pytest.raises(ReleaseError, match=r"r/manifest\.json: not a directory; give the one that holds manifest"):
        read_manifest(directory / "manifest.json")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for there in (tmp_path / "loop", tmp_path / ("x" * 300)):
        with pytest.raises(ReleaseError, match=r": .+; fix that, or copy the release again") as caught:
            read_manifest(there)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
    (directory / "manifest.json").unlink()
    (directory / "manifest.json").mkdir()
    with pytest.raises(ReleaseError, match=r"r/manifest\.json: Is a directory"):
        read_manifest(directory)


def test_manifest_without_measure_is_refused_unread(tmp_path: Path) -> None:
    """A file beyond every export is not read; one nested without end is no JSON."""
    path = write(tmp_path / "r") / "manifest.json"
    with path.open("r+b") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)  # a hole: takes no room
    with pytest.raises(ReleaseError, match="larger than 32 MB"):
        read_manifest(tmp_path / "r")
    path.write_text("[" * 200_000)
    with pytest.raises(ReleaseError, match="not JSON"):
        read_manifest(tmp_path / "r")


@pytest.mark.parametrize("digest", ["", "x" * 64, "AB" * 32])
def test_hash_that_is_none_is_refused(tmp_path: Path, digest: str) -> None:
    """SHA-256 in hexadecimal, or nothing is compared."""
    with pytest.raises(ReleaseError, match=r"manifest\.json: files"):
        read_manifest(write(tmp_path / "r", files=HASHES | {"items.npz": digest}))
