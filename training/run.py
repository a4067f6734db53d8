"""A run directory: one folder per step, each written beside and then renamed, each skipped when it is done.

RUN/config.toml         the resolved configuration and the seed of the last command
RUN/<step>/step.json    what the folder was made from, how long it took, its peak memory, its figures; of the export,
                        whose folder is RUN/release, RUN/release.json: a release names every one of its files
RUN/<step>.partial/     a step under way or interrupted: the same command goes on from there
"""

import hashlib
import importlib
import json
import logging
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from userip.disk import room_for
from userip.files import move_in, write_text
from userip.terminal import one_line
from userip.training.config import TrainConfig, write_config
from userip.training.data.dataset import INFO, Dataset
from userip.training.errors import ConfigError, DataError, SplitMismatchError
from userip.training.methods.config import ProfileConfig

log = logging.getLogger(__name__)

STEP: Final = "step.json"
RELEASE: Final = "release"
LEVELS: Final = ("debug", "info", "warning", "error")  # the service's own, in the same variable


class Step(NamedTuple):
    """A step of a run.

    work      module:function, called with (data set, run, folder to write, *sections, seed)
    sections  parts of the configuration that it is given
    settings  those that its result depends on, beside those of the steps before it
    folder    where its result stands
    """

    work: str
    sections: tuple[str, ...]
    settings: tuple[str, ...]
    folder: str


# In turn; a method without a language model begins at `infer`. A step's fingerprint contains that of the step before:
# change a setting, and what follows is redone.
STEPS: Final[dict[str, Step]] = {
    "language": Step(
        "userip.training.language.step:run_language",
        ("facets", "history", "language"), ("facets", "history", "language"), "language",
    ),
    "infer": Step("userip.training.methods.step:run_infer", ("profile",), ("method", "history", "infer"), "infer"),
    "quantize": Step("userip.training.quantize.step:run_quantize", ("profile", "quantize"), ("quantize",), "quantize"),
    "fit": Step("userip.training.recommender.step:run_fit", ("fit",), ("fit",), "fit"),
    "export": Step("userip.training.export.step:run_export", ("profile", "fit", "export"), ("export",), "release"),
}  # fmt: skip
COMMANDS: Final = {"language": "train-lm"}  # of a step, where it is not the step's name


def steps_of(config: ProfileConfig) -> list[str]:
    """The steps of a run, in turn."""
    return [step for step in STEPS if step != "language" or config.profile_method.needs_language]


def step_before(step: str, config: ProfileConfig) -> str | None:
    """The step whose result `step` reads."""
    steps = steps_of(config)
    place = steps.index(step)
    return steps[place - 1] if place else None


def fingerprint(step: str, dataset: Dataset, config: TrainConfig, seed: int, language_seed: int | None = None) -> str:
    """What a step's result depends on, as a hash: data, seed, its settings and all steps before it.

    `language_seed` is the language model's, where it is not `seed`: several runs may share one model.
    """
    settings = config.model_dump(mode="json", include=set(STEPS[step].settings))
    if step == "language":
        settings["facets"] = [{**facet, "size": None} for facet in settings["facets"]]
    if step == "quantize":
        settings["sizes"] = config.sizes
    own = seed if step != "language" or language_seed is None else language_seed
    content: dict[str, Any] = {"step": step, "settings": settings, "seed": own, "split": dataset.split_hash}
    if before := step_before(step, config):
        content["before"] = fingerprint(before, dataset, config, seed, language_seed)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def run_step(
    step: str, dataset: Dataset, run: Path, config: TrainConfig, seed: int, language_seed: int | None = None
) -> dict[str, Any]:
    """Do one step unless it is done. Returns its figures. `language_seed`: see `fingerprint`.

    Raises DataError when the step before is missing, ConfigError when it was made with other settings, DiskFullError.
    """
    if step not in steps_of(config):
        raise ConfigError(f"method {config.method!r} reads no language model: it has no step `{step}`")
    before, folder = step_before(step, config), STEPS[step].folder
    with locked(run):
        mark = fingerprint(step, dataset, config, seed, language_seed)
        done = read_step(run / folder)
        if done is not None and done["fingerprint"] == mark:
            log.info("%s: done before, kept", step)
            return dict(done["figures"])
        if before:
            _require(before, dataset, run, config, seed, language_seed)
        out = run / f"{folder}.partial"
        begun = time.monotonic()
        module, function = STEPS[step].work.split(":")
        work: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), function)
        with room_for(out):
            _resume_or_clean(out, mark)
            write_config(config, run / "config.toml")
            log.info("%s: started", step)
            figures = work(dataset, run, out, *(getattr(config, section) for section in STEPS[step].sections), seed)
        record = {
            "step": step,
            "fingerprint": mark,
            "before": fingerprint(before, dataset, config, seed, language_seed) if before else None,
            "split_hash": dataset.split_hash,
            "seed": seed,
            "seconds": round(time.monotonic() - begun, 1),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "figures": figures,
        }
        (out / "started").unlink(missing_ok=True)
        if folder == RELEASE:  # a release names every one of its files: its record stands beside it, not in it
            move_in(out, run / folder)
            write_text(run / "release.json", json.dumps(record, indent=1))
        else:
            write_text(out / STEP, json.dumps(record, indent=1))
            move_in(out, run / folder)
        log.info("%s: done in %s s, peak memory %s MB", step, record["seconds"], record["peak_memory_mb"])
        return figures


def read_step(directory: Path) -> dict[str, Any] | None:
    """The record of a finished step, or None."""
    file = directory.with_name("release.json") if directory.name == RELEASE else directory / STEP
    if not directory.is_dir():
        return None
    try:
        record: dict[str, Any] = json.loads(file.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return record


def read_whole(run: Path, config: ProfileConfig) -> dict[str, dict[str, Any]]:
    """The records of all steps. Raises unless the release was made from the other steps as they are now.

    They are newer where a command with other settings has not come to its end.
    """
    records: dict[str, dict[str, Any]] = {}
    before = None
    for step in steps_of(config):
        folder = run / STEPS[step].folder
        record = read_step(folder)
        if record is None:
            raise DataError(f"{folder}: not found; run `userip train` first")
        if before and record.get("before", records[before]["fingerprint"]) != records[before]["fingerprint"]:
            raise ConfigError(
                f"{folder}: was made before {run / before}, which another `userip train` has made anew; "
                "let that one come to its end and publish what it makes"
            )
        records[step], before = record, step
    return records


def _require(step: str, dataset: Dataset, run: Path, config: TrainConfig, seed: int, language_seed: int | None) -> None:
    made = run / STEPS[step].folder
    done, command = read_step(made), COMMANDS.get(step, step)
    if done is None:
        raise DataError(f"{made}: not found; run `userip {command}` first (or `userip train`)")
    if done["split_hash"] != dataset.split_hash:
        raise SplitMismatchError(f"{made}: was made from another split than {dataset.path}; run `userip train` again")
    if done["fingerprint"] != fingerprint(step, dataset, config, seed, language_seed):
        raise ConfigError(
            f"{made}: was made with other settings or another seed; run `userip {command}` again, "
            f"or give the settings of {run / 'config.toml'}"
        )


def _resume_or_clean(out: Path, mark: str) -> None:
    """Keep an interrupted attempt at the very same work; throw another one away."""
    started = out / "started"
    if started.is_file() and started.read_text() == mark:
        return  # nor written anew: on a full disk it would be lost, and with it the attempt
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    started.write_text(mark)


@contextmanager
def locked(run: Path, what: str = "run") -> Iterator[None]:
    """One command at a time in a directory of a run, or of `what` else; the lock dies with its process.

    Raises ConfigError where another command is at work, or nothing can be written.
    """
    import fcntl

    if (run / INFO).is_file():
        raise ConfigError(f"--out {run}: is a data set; a {what} needs a directory of its own")
    try:
        with room_for(run):
            run.mkdir(parents=True, exist_ok=True)
            lock = (run / ".lock").open("a")
    except OSError as error:
        raise ConfigError(f"--out {run}: cannot be written ({error.strerror or error})") from None
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"--out {run}: another userip command is at work there") from None
        yield


class _OneLine(logging.Formatter):
    """A message is one line, whatever is in it; a traceback below it has its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        return one_line(super().formatMessage(record))


def set_up_logging() -> None:
    """Plain lines on stderr, from USERIP_LOG_LEVEL on. Raises ConfigError for a level that there is not."""
    level = os.environ.get("USERIP_LOG_LEVEL") or "info"
    if level.lower() not in LEVELS:
        raise ConfigError(f"USERIP_LOG_LEVEL={level}: no such level; there are {', '.join(LEVELS)}")
    logging.basicConfig(level=level.upper(), stream=sys.stderr, force=True)
    logging.getLogger().handlers[0].setFormatter(_OneLine("%(message)s"))
    for noisy in ("transformers", "httpx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # loading takes a moment; its bar breaks the lines
