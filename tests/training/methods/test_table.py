"""The memory-mapped table of soft prompts."""

from pathlib import Path

import numpy as np
import torch

from userip.training.methods.table import ProfileTable

SHAPE = (5, 2, 1, 3)
GROUPS = [np.array([3, 0]), np.array([1]), np.array([4, 2])]


def _values(views: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(views.astype(np.float32))[:, None, None, None].expand(-1, *SHAPE[1:]).clone() + 0.5


def _fill(table: ProfileTable, batches: list[int]) -> None:
    for number in batches:
        table.write(number, GROUPS[number], _values(GROUPS[number]))


def test_written_rows_come_back(tmp_path: Path) -> None:
    """Rows are read by view, in the order asked for, also twice."""
    table = ProfileTable(tmp_path, "z", SHAPE, len(GROUPS))
    _fill(table, [0, 1, 2])
    asked = np.array([4, 0, 4])
    assert torch.equal(table[asked], _values(asked))
    assert torch.equal(ProfileTable.open(tmp_path, "z")[asked], _values(asked))


def test_an_opened_again_table_knows_what_is_missing(tmp_path: Path) -> None:
    """Written batches are kept and not pending; the others are."""
    _fill(ProfileTable(tmp_path, "z", SHAPE, len(GROUPS)), [1])
    again = ProfileTable(tmp_path, "z", SHAPE, len(GROUPS))
    assert again.pending() == [0, 2]
    assert torch.equal(again[GROUPS[1]], _values(GROUPS[1]))


def test_an_interrupted_table_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Filled in two sittings, the file equals one filled at once."""
    for name, sittings in (("one", [[0, 1, 2]]), ("two", [[2], [0, 1]])):
        (tmp_path / name).mkdir()
        for batches in sittings:
            _fill(ProfileTable(tmp_path / name, "z", SHAPE, len(GROUPS)), batches)
    assert (tmp_path / "one" / "z.npy").read_bytes() == (tmp_path / "two" / "z.npy").read_bytes()


def test_a_kill_before_the_marks_exist_starts_anew(tmp_path: Path) -> None:
    """Values without marks, as a kill between the two leaves them, count for nothing."""
    _fill(ProfileTable(tmp_path, "z", SHAPE, len(GROUPS)), [0])
    (tmp_path / "z.done").unlink()
    assert ProfileTable(tmp_path, "z", SHAPE, len(GROUPS)).pending() == [0, 1, 2]


def test_marks_of_another_number_of_batches_start_anew(tmp_path: Path) -> None:
    """Marks that cannot be those of these batches are not believed."""
    _fill(ProfileTable(tmp_path, "z", SHAPE, len(GROUPS)), [0])
    assert ProfileTable(tmp_path, "z", SHAPE, 2).pending() == [0, 1]


def test_a_mark_follows_its_values(tmp_path: Path) -> None:
    """When a mark can be seen, the values are in the file: another reader sees them at once."""
    table = ProfileTable(tmp_path, "z", SHAPE, len(GROUPS))
    for number, group in enumerate(GROUPS):
        _fill(table, [number])
        assert (tmp_path / "z.done").read_bytes()[number] == 1
        np.testing.assert_array_equal(np.load(tmp_path / "z.npy")[group], _values(group).numpy())
