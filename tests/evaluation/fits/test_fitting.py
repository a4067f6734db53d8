"""Fits over several processes: how they end when the evaluation does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.small_disk import SmallDisk
from tests.training.tiny_run import easy_set
from userip.disk import DiskFullError
from userip.evaluation.fits.fitting import Fitting
from userip.evaluation.fits.trials import Trial
from userip.evaluation.plan import Experiment
from userip.training.recommender.config import RecommenderConfig

FITS = 3_000  # of the constant rate: far more than get done before the signal
DEADLINE = 300  # seconds: processes that import torch start slowly where all cores are busy
EVALUATION = f"""
import sys
from collections.abc import Callable
from pathlib import Path
from userip.training.data.dataset import Dataset
from userip.evaluation.fits.trials import Trial
from userip.evaluation.fits.fitting import Fitting
from userip.evaluation.plan import Experiment
from userip.training.recommender.config import RecommenderConfig

if __name__ == "__main__":
    experiment = Experiment("controls", "constant-rate", "")
    trials = [Trial(experiment, seed, RecommenderConfig(), None) for seed in range({FITS})]
    Fitting(Dataset.open(Path(sys.argv[1])), Path(sys.argv[2]), 2).run(trials, "fits")
"""


@pytest.mark.parametrize(
    "by",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_an_evaluation_that_is_stopped_leaves_no_process_and_starts_no_fit(tmp_path: Path, by: signal.Signals) -> None:
    """By Ctrl-C, `kill` or a kill: the fits that wait are not done first, and the processes that fit end with it."""
    easy_set(tmp_path / "data", users=60)
    script = tmp_path / "evaluation.py"
    script.write_text(EVALUATION)
    cells = tmp_path / "report" / "cells"
    command = [sys.executable, str(script), str(tmp_path / "data"), str(tmp_path / "report")]
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL, start_new_session=True
    ) as started:
        try:
            _wait_until(lambda: any(cells.glob("*.npz")) or started.poll() is not None)
            started.send_signal(by)
            assert started.wait(DEADLINE) != 0
            _wait_until(lambda: not _group_lives(started.pid))
        finally:
            if _group_lives(started.pid):
                os.killpg(started.pid, signal.SIGKILL)
    assert 0 < len(list(cells.glob("*.npz"))) < FITS


def test_a_full_disk_ends_an_evaluation_at_once(tmp_path: Path, small_disk: SmallDisk) -> None:
    """It is no fault of a method, and no other one could be kept either; with room, the fits are done."""
    fitting = Fitting(easy_set(tmp_path / "data", users=60), small_disk.path / "report", 1)
    trials = [Trial(Experiment("controls", "constant-rate", ""), seed, RecommenderConfig(), None) for seed in range(2)]
    small_disk.leave(0)
    with pytest.raises(DiskFullError, match="No space left"):
        fitting.run(trials, "fits")
    small_disk.free()
    fitting.run(trials, "fits")
    assert fitting.failures == []
    assert all(fitting.stored(trial) for trial in trials)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end, "nothing has happened"
        time.sleep(0.05)
