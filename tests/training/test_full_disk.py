"""Training on a full disk: one line, nothing lost, nothing half-written taken for whole; the same command goes on."""

from pathlib import Path

import pytest

from tests.fixtures.runs import Once, Run, copy_steps
from tests.fixtures.small_disk import SmallDisk
from tests.training.tiny_run import HASTE, ROUNDS, contents, tiny_config, train
from userip.disk import DiskFullError
from userip.training.config import TrainConfig
from userip.training.methods.table import ProfileTable
from userip.training.run import STEPS, run_step, step_before
from userip.training.threads import one_thread

_DIFFERS = ("step.json", "manifest.json")  # by times and memory
_PAGE = 4096


@pytest.fixture(scope="module")
def whole(held_out: Run, once: Once) -> Path:
    """A run with all of its steps, made with room."""

    def make(place: Path) -> None:
        copy_steps(held_out.path, place / "run", "language", "infer", "quantize")
        train(held_out.dataset, place / "run", _config(place), ["fit", "export"])

    return once("whole-held-out", make) / "run"


def _config(directory: Path) -> TrainConfig:
    return tiny_config(directory, *HASTE, *ROUNDS)


def _bytes_in(directory: Path) -> int:
    return sum(len(content) for content in contents(directory).values())


def test_a_table_has_its_room_from_the_start(small_disk: SmallDisk) -> None:
    """A table that does not fit is refused when it is made: to write to a hole of a mapped file would kill."""
    small_disk.leave(10 * _PAGE)
    with pytest.raises(DiskFullError, match=r"^No space left for .*/z\.npy: free some and run the same command again$"):
        ProfileTable(small_disk.path, "z", (1000, 1, 1, 256), 4)
    small_disk.free()
    assert ProfileTable(small_disk.path, "z", (1000, 1, 1, 256), 4).pending() == [0, 1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_step_on_a_full_disk(step: str, held_out: Run, whole: Path, small_disk: SmallDisk, tmp_path: Path) -> None:
    """However far it comes, it says in one line what did not fit; with room, the same command ends with the same bytes.

    The result is not there before it is whole.
    """
    config, run = _config(tmp_path), small_disk.path / "run"
    run.mkdir()
    steps = list(STEPS)
    copy_steps(whole, run, *(STEPS[before].folder for before in steps[: steps.index(step)]))
    (run / "config.toml").write_bytes((whole / "config.toml").read_bytes())
    folder = STEPS[step].folder
    size = _bytes_in(whole / folder)
    with one_thread():
        for room in (_PAGE, size // 3, 2 * size // 3, size - _PAGE):
            small_disk.leave(max(room - _bytes_in(run / f"{folder}.partial"), 0))
            with pytest.raises(DiskFullError, match=rf"^No space left for {run}/[^\n]*: free some and run the same"):
                run_step(step, held_out.dataset, run, config, 0)
            assert not (run / folder).exists()
        small_disk.free()
        run_step(step, held_out.dataset, run, config, 0)
    assert contents(run / folder, *_DIFFERS) == contents(whole / folder, *_DIFFERS)
    assert step_before(step, config) is None or contents(run / "language") == contents(whole / "language")
