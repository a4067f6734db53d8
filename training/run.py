"""A run directory: one folder per step, each written beside and then renamed, each skipped when it is done.

RUN/config.toml         the resolved configuration and the seed of the last command
RUN/<step>/step.json    what the folder was made from, how long it took, its peak memory, its figures
RUN/<step>.partial/     a step under way or interrupted: the same command goes on from there
"""

import hashlib
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
from typing import Any, Final

from userip.files import write_text
from userip.training.config import TrainConfig, write_config
from userip.training.data.dataset import INFO, Dataset
from userip.training.errors import ConfigError, DataError, SplitMismatchError

log = logging.getLogger(__name__)

STEP: Final = "step.json"
LEVELS: Final = ("debug", "info", "warning", "error")  # the service's own, in the same variable
RunStep = Callable[[Dataset, Path, Path, TrainConfig, int], dict[str, Any]]

# Each step: the module that holds run_<step>, the sections of the configuration that it depends on, and the step
# before it. A step's fingerprint contains that of the step before: change a setting, and what follows is redone.
STEPS: Final[dict[str, tuple[str, tuple[str, ...], str | None]]] = {
    "language": ("userip.training.language.step", ("facets", "history", "language"), None),
    "infer": ("userip.training.methods.userip.infer", ("infer",), "language"),
    "quantize": ("userip.training.methods.userip.quantize", ("quantize",), "infer"),
    "fit": ("userip.training.recommender.step", ("fit",), "quantize"),
    "release": ("userip.training.export.step", ("export",), "fit"),
}


def fingerprint(step: str, dataset: Dataset, config: TrainConfig, seed: int, language_seed: int | None = None) -> str:
    """What a step's result depends on, as a hash: data, seed, its settings and all steps before it.

    `language_seed` is the language model's, where it is not `seed`: several runs may share one model.
    """
    _, sections, before = STEPS[step]
    settings = config.model_dump(mode="json", include=set(sections))
    if step == "language":
        settings["facets"] = [{**facet, "size": None} for facet in settings["facets"]]
    if step == "quantize":
        settings["sizes"] = [facet.size for facet in config.facets]
    own = seed if step != "language" or language_seed is None else language_seed
    content: dict[str, Any] = {"step": step, "settings": settings, "seed": own, "split": dataset.split_hash}
    if before:
        content["before"] = fingerprint(before, dataset, config, seed, language_seed)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def run_step(
    step: str, dataset: Dataset, run: Path, config: TrainConfig, seed: int, language_seed: int | None = None
) -> dict[str, Any]:
    """Do one step unless it is done. Returns its figures. `language_seed`: see `fingerprint`.

    Raises DataError when the step before is missing, ConfigError when it was made with other settings.
    """
    module, _, before = STEPS[step]
    with locked(run):
        mark = fingerprint(step, dataset, config, seed, language_seed)
        done = read_step(run / step)
        if done is not None and done["fingerprint"] == mark:
            log.info("%s: done before, kept", step)
            return dict(done["figures"])
        if before:
            _require(before, dataset, run, config, seed, language_seed)
        out = run / f"{step}.partial"
        _resume_or_clean(out, mark)
        write_config(config, run / "config.toml")
        log.info("%s: started", step)
        begun = time.monotonic()
        work: RunStep = getattr(__import__(module, fromlist=["_"]), _function(step))
        figures = work(dataset, run, out, config, seed)
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
        if step == "release":  # a release names every one of its files: its record stands beside it, not in it
            _finish(out, run / step)
            write_text(run / "release.json", json.dumps(record, indent=1))
        else:
            write_text(out / STEP, json.dumps(record, indent=1))
            _finish(out, run / step)
        log.info("%s: done in %s s, peak memory %s MB", step, record["seconds"], record["peak_memory_mb"])
        return figures


def read_step(directory: Path) -> dict[str, Any] | None:
    """The record of a finished step, or None."""
    file = directory.with_name("release.json") if directory.name == "release" else directory / STEP
    if not directory.is_dir():
        return None
    try:
        record: dict[str, Any] = json.loads(file.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return record


def read_whole(run: Path) -> dict[str, dict[str, Any]]:
    """The records of all steps. Raises unless the release was made from the other steps as they are now.

    They are newer where a command with other settings has not come to its end.
    """
    records: dict[str, dict[str, Any]] = {}
    for step, (_, _, before) in STEPS.items():
        record = read_step(run / step)
        if record is None:
            raise DataError(f"{run / step}: not found; run `userip train` first")
        if before and record.get("before", records[before]["fingerprint"]) != records[before]["fingerprint"]:
            raise ConfigError(
                f"{run / step}: was made before {run / before}, which another `userip train` has made anew; "
                "let that one come to its end and publish what it makes"
            )
        records[step] = record
    return records


def _function(step: str) -> str:
    return "run_export" if step == "release" else f"run_{step}"


def _require(step: str, dataset: Dataset, run: Path, config: TrainConfig, seed: int, language_seed: int | None) -> None:
    done = read_step(run / step)
    command = "export" if step == "release" else step
    if done is None:
        raise DataError(f"{run / step}: not found; run `userip {command}` first (or `userip train`)")
    if done["split_hash"] != dataset.split_hash:
        raise SplitMismatchError(
            f"{run / step}: was made from another split than {dataset.path}; run `userip train` again"
        )
    if done["fingerprint"] != fingerprint(step, dataset, config, seed, language_seed):
        raise ConfigError(
            f"{run / step}: was made with other settings or another seed; run `userip {command}` again, "
            f"or give the settings of {run / 'config.toml'}"
        )


def _resume_or_clean(out: Path, mark: str) -> None:
    """Keep an interrupted attempt at the very same work; throw another one away."""
    started = out / "started"
    if out.is_dir() and (not started.is_file() or started.read_text() != mark):
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    started.write_text(mark)


def _finish(partial: Path, final: Path) -> None:
    old = final.with_name(final.name + ".old")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def locked(run: Path, what: str = "run") -> Iterator[None]:
    """One command at a time in a directory of a run, or of `what` else; the lock dies with its process.

    Raises ConfigError where another command is at work, or nothing can be written.
    """
    import fcntl

    if (run / INFO).is_file():
        raise ConfigError(f"--out {run}: is a data set; a {what} needs a directory of its own")
    try:
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


def set_up_logging() -> None:
    """Plain lines on stderr, from USERIP_LOG_LEVEL on. Raises ConfigError for a level that there is not."""
    level = os.environ.get("USERIP_LOG_LEVEL") or "info"
    if level.lower() not in LEVELS:
        raise ConfigError(f"USERIP_LOG_LEVEL={level}: no such level; there are {', '.join(LEVELS)}")
    logging.basicConfig(level=level.upper(), format="%(message)s", stream=sys.stderr, force=True)
    for noisy in ("transformers", "httpx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # loading takes a moment; its bar breaks the lines
