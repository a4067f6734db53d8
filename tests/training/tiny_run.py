"""A whole training run that takes seconds: an easy simulation, a small language model, few E steps.

Easy, said openly: 60 interactions a user instead of 24, ratings with .3 stars of noise instead of .5, 10 % of choices
at random instead of 20 %, and codebooks of the planted sizes, with the hobby's words taken from the items' genre
(facets.hobby.columns). The E step is given 12 steps under a weak prior.
"""

import contextlib
import io
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.fixtures.process import command, environment
from userip.training.config import TrainConfig, load_config
from userip.training.data.commands import simulate
from userip.training.data.dataset import Dataset, Split
from userip.training.run import run_step
from userip.training.threads import one_thread

PROFILE_STEPS = ("language", "infer", "quantize")
FACETS = """
[[facets]]
name = "hobby"
phrase = "This user's hobby is"
filler = "attributes"
columns = ["genre"]
size = 4

[[facets]]
name = "background"
phrase = " The user's background is"
filler = "generosity"
size = 3
"""
SETTINGS = (
    "language.layers=1",
    "language.width=32",
    "language.heads=2",
    "language.vocabulary=600",
    "language.users=32",
    "language.steps=60",
    "infer.steps=12",
    "infer.lr=0.2",
    "infer.priors=[0.1]",
    "infer.shared_steps=4",
    "infer.probe_users=32",
    "infer.batch_tokens=6000",
)
ROUNDS = ("quantize.click_rounds=1", "quantize.em_rounds=1")  # off by default; with them both kinds are walked through
HASTE = ("language.steps=6", "infer.steps=3", "infer.shared_steps=2")  # where the quality of profiles is no matter


def easy_set(out: Path, *, users: int = 200, split: Split = "random", effect: float = 1.0, seed: int = 1) -> Dataset:
    """The easy simulation, written to `out`."""
    with contextlib.redirect_stdout(io.StringIO()):
        simulate(
            out=out,
            users=users,
            items=120,
            interactions=60,
            noise=0.3,
            wander=0.1,
            split=split,
            effect=effect,
            seed=seed,
        )
    return Dataset.open(out)


def config_file(directory: Path) -> Path:
    """The facets, as a file for `--config`."""
    file = directory / "facets.toml"
    file.write_text(FACETS, encoding="utf-8")
    return file


def tiny_config(directory: Path, *settings: str) -> TrainConfig:
    """The tiny configuration; further settings override it."""
    return load_config("quick", config_file(directory), (*SETTINGS, *settings), environment={})


def flags(directory: Path, *settings: str) -> list[str]:
    """The same for a command line."""
    said = [part for setting in (*SETTINGS, *settings) for part in ("--set", setting)]
    return ["--preset", "quick", "--config", str(config_file(directory)), *said]


def train(dataset: Dataset, run: Path, config: TrainConfig, steps: Sequence[str] = PROFILE_STEPS) -> Path:
    """Run steps in this process, on one thread: the bytes of a run depend on the number of threads."""
    with one_thread():
        for step in steps:
            run_step(step, dataset, run, config, 0)
    return run


def start(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """`userip ARGUMENTS` as a process on one thread."""
    return subprocess.Popen(
        command(*arguments),
        env=environment({"OMP_NUM_THREADS": "1"}),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for success; (stdout, stderr)."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, err


def contents(directory: Path, *left_out: str) -> dict[str, bytes]:
    """Every file below a directory, without the named ones."""
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.name not in left_out
    }
