"""Arrays mapped from private copies: what was hashed is what is used, whatever happens to the release directory."""

import gc
import hashlib
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.small_disk import SmallDisk
from userip.disk import DiskFullError
from userip.release.errors import ReleaseError
from userip.release.private_copy import map_array, sweep

ROWS = np.arange(4000, dtype=np.float32).reshape(1000, 4)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A file of a release."""
    np.save(tmp_path / "table.npy", ROWS)
    return tmp_path / "table.npy"


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _copies(shared: Path) -> list[str]:
    return sorted(path.name for path in shared.glob("*.copy*"))


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_mapped_stays_as_it_was_hashed(shared: bool, table: Path, tmp_path: Path) -> None:
    """The file is written over in place, cut short and removed: none of it reaches who has mapped it."""
    mapped = map_array(table, _hash(table), tmp_path / "run" if shared else None)
    assert not mapped.flags.writeable
    with table.open("r+b") as file:
        file.write(bytes(8000))
    np.testing.assert_array_equal(mapped, ROWS)
    with table.open("r+b") as file:
        file.truncate(100)
    np.testing.assert_array_equal(mapped, ROWS)
    table.unlink()
    np.testing.assert_array_equal(mapped, ROWS)


def test_a_file_of_another_hash_is_refused_and_not_kept(table: Path, tmp_path: Path) -> None:
    """The error names the file; the copy is not there for others to take."""
    with pytest.raises(ReleaseError, match=r"table\.npy: sha256 differs from manifest\.json"):
        map_array(table, "0" * 64, tmp_path / "run")
    assert _copies(tmp_path / "run") == []
    sha256 = _hash(table)
    mapped = map_array(table, sha256, tmp_path / "run")
    table.write_bytes(b"altered while the copy is there")
    with pytest.raises(ReleaseError, match="sha256 differs"):
        map_array(table, sha256, tmp_path / "run")
    np.testing.assert_array_equal(mapped, ROWS)


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    """Nothing is unpickled, though the hash is right."""
    np.save(tmp_path / "table.npy", np.zeros(1))
    numbers = (tmp_path / "table.npy").read_bytes()
    (tmp_path / "table.npy").write_bytes(numbers.replace(b"'<f8',", b"'|O', "))
    with pytest.raises(ReleaseError, match=r"table\.npy: not a \.npy file that can be mapped"):
        map_array(tmp_path / "table.npy", _hash(tmp_path / "table.npy"))


def test_workers_map_one_copy_and_the_last_lets_it_go(table: Path, tmp_path: Path) -> None:
    """The same content is one file, also under another name, and stays until nobody maps it."""
    shared, sha256 = tmp_path / "run", _hash(table)
    first = map_array(table, sha256, shared)
    inode = (shared / f"{sha256}.copy").stat().st_ino
    second = map_array(table.rename(tmp_path / "other.npy"), sha256, shared)
    assert (shared / f"{sha256}.copy").stat().st_ino == inode
    del first
    gc.collect()
    sweep(shared)
    assert _copies(shared) == [f"{sha256}.copy"]
    np.testing.assert_array_equal(second, ROWS)
    del second
    gc.collect()
    sweep(shared)
    assert _copies(shared) == []


def _hold(table: Path, shared: Path, ready: "multiprocessing.synchronize.Event") -> None:
    mapped = map_array(table, _hash(table), shared)
    ready.set()
    multiprocessing.Event().wait()
    del mapped


def test_a_copy_of_another_process_stays_until_that_has_ended(table: Path, tmp_path: Path) -> None:
    """Even one that was killed: the lock ends with the process."""
    context, shared = multiprocessing.get_context("spawn"), tmp_path / "run"
    ready = context.Event()
    worker = context.Process(target=_hold, args=(table, shared, ready))
    worker.start()
    assert ready.wait(60)
    sweep(shared)
    assert len(_copies(shared)) == 1
    worker.kill()
    worker.join()
    sweep(shared)
    assert _copies(shared) == []


def test_what_an_interrupted_copy_left_is_swept(tmp_path: Path) -> None:
    """A worker that was killed while it copied leaves no more than the next sweep removes."""
    (tmp_path / f"{'0' * 64}.copy.partial").write_bytes(b"half")
    sweep(tmp_path)
    assert _copies(tmp_path) == []


def test_no_room_for_a_copy_is_one_line(table: Path, small_disk: SmallDisk) -> None:
    """It names the directory of the copies, where room is needed."""
    small_disk.leave(8192)
    with pytest.raises(DiskFullError, match=rf"^No space left for {small_disk.path}: free some and run the same"):
        map_array(table, _hash(table), small_disk.path)
