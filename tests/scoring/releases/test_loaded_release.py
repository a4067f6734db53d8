"""Loading a release directory: all of it fits, or the error names the file that does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.tiny_release import FIELDS, ITEMS, TinyRelease, change_manifest, write_items
from userip.release.errors import ReleaseError
from userip.release.manifest import FieldSpec
from userip.scoring.releases.loaded_release import load_release


def test_loaded_release_knows_items_contexts_and_sizes(tiny: TinyRelease) -> None:
    """Item ids of any alphabet map to their rows, from 1 on; so do context values."""
    release = load_release(tiny.path)
    assert release.name == tiny.name
    assert release.item_rows == {item: row for row, item in enumerate(ITEMS, start=1)}
    assert release.context_rows == (("device", {"mobile": 1, "tv": 2}),)
    assert (release.scorer.shape.items, release.scorer.shape.user) == (8, 6)
    assert (release.scorer.shape.slots, release.scorer.shape.context) == ((5, 4, 3), (3,))


def replaced(name: str, **changes: Any) -> tuple[FieldSpec, ...]:  # noqa: ANN401  # any field
    return tuple(field.model_copy(update=changes) if field.name == name else field for field in FIELDS)


@pytest.mark.parametrize(
    "fields",
    [
        replaced("item_id", size=9),
        replaced("item_id", source="item"),
        replaced("genre", source="user_row"),
        replaced("hobby", slot=2),
        replaced("hobby", slot=None),
        replaced("hobby", size=6),
        replaced("gender", slot=3),
        replaced("device", values=None),
        replaced("device", values=("tv", "tv")),
        replaced("device", size=4),
        FIELDS[:3] + FIELDS[4:],
    ],
)
def test_manifest_that_contradicts_itself_is_refused(tiny: TinyRelease, fields: tuple[FieldSpec, ...]) -> None:
    """Sizes, slots, facets and values must agree with each other."""
    change_manifest(tiny, fields=fields)
    with pytest.raises(ReleaseError, match=r"manifest\.json: (fields|facets)"):
        load_release(tiny.path)


def altered(path: Path) -> None:
    content = bytearray((path / "scorer.onnx").read_bytes())
    content[-1] ^= 1
    (path / "scorer.onnx").write_bytes(content)


def removed(path: Path) -> None:
    (path / "items.npz").unlink()


def added(path: Path) -> None:
    (path / "notes.txt").write_text("hello")


@pytest.mark.parametrize(("harm", "file"), [(altered, "scorer.onnx"), (removed, "items.npz"), (added, "notes.txt")])
def test_directory_that_is_not_the_manifests_is_refused(
    tiny: TinyRelease, harm: Callable[[Path], None], file: str
) -> None:
    """An altered, missing or additional file is named."""
    harm(tiny.path)
    with pytest.raises(ReleaseError, match=file):
        load_release(tiny.path)


BAD_ITEMS: list[dict[str, np.ndarray[Any, Any]]] = [
    {"blob": np.zeros(7, np.uint8)},
    {"blob": np.zeros(7, np.uint8), "offsets": np.arange(8, dtype=np.int32)},
    {"blob": np.zeros(7, np.uint8), "offsets": np.arange(7, dtype=np.int64)},
    {"blob": np.zeros(9, np.uint8), "offsets": np.arange(8, dtype=np.int64)},
    {"blob": np.zeros(7, np.uint8), "offsets": np.array([0, 3, 2, 3, 4, 5, 6, 7])},
    {"blob": np.zeros(7, np.uint8), "offsets": np.arange(8, dtype=np.int64)},  # the same id seven times
    {"blob": np.full(7, 0xFF, np.uint8), "offsets": np.arange(8, dtype=np.int64)},  # not UTF-8
    {"blob": np.array([object()] * 7), "offsets": np.arange(8, dtype=np.int64)},  # would need pickle
]


@pytest.mark.parametrize("arrays", BAD_ITEMS)
def test_items_file_that_does_not_fit_is_refused(tiny: TinyRelease, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    """Missing arrays, other types, another count, bad cuts, doubles, bad text, objects."""
    np.savez(tiny.path / "items.npz", **arrays)  # type: ignore[arg-type]  # the stub mixes up its keywords
    change_manifest(tiny)
    with pytest.raises(ReleaseError, match=r"items\.npz"):
        load_release(tiny.path)


def test_items_file_that_is_no_archive_is_refused(tiny: TinyRelease) -> None:
    """Neither text nor a bare array passes for the archive."""
    (tiny.path / "items.npz").write_bytes(b"PK\x03\x04 but no archive")
    change_manifest(tiny)
    with pytest.raises(ReleaseError, match=r"items\.npz"):
        load_release(tiny.path)
    with (tiny.path / "items.npz").open("wb") as file:
        np.save(file, np.arange(3))
    change_manifest(tiny)
    with pytest.raises(ReleaseError, match=r"items\.npz"):
        load_release(tiny.path)


def test_other_item_order_gives_other_rows(tiny: TinyRelease) -> None:
    """Rows follow the file's order, not the alphabet's."""
    write_items(tiny.path / "items.npz", ITEMS[::-1])
    change_manifest(tiny)
    assert load_release(tiny.path).item_rows[ITEMS[-1]] == 1
