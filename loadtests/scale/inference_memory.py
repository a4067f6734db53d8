"""Memory of inference over the number of users: `python -m userip.loadtests.scale.inference_memory`.

Makes a data set of so many users, reads it as a run would, writes every view's start into the table of soft prompts,
fits codebooks, assigns everybody's codes, and prints time and memory of each step. No E steps are taken and no
surrogate is fitted: they hold one batch, whatever the number of users; `loadtests.scale.inference` says what
they take. VmHWM counts mapped files too, which the system can drop; RssAnon is what it cannot.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer

from userip.loadtests.scale.simulated_language import ATTRIBUTES, simulated_catalogue, simulated_histories
from userip.loadtests.servers.cores import status_mb
from userip.release.manifest import sha256_of
from userip.training.config import TrainConfig, load_config
from userip.training.data.dataset import FORMAT_VERSION, INFO, INTERACTIONS, ITEMS, Dataset, DatasetInfo
from userip.training.run import run_step, set_up_logging

MIB = 1 << 20
PARTS = ("train",) * 8 + ("valid", "test")


def scale(
    users: Annotated[int, typer.Option(min=100, help="Users of the data set that is made.")] = 1_000_000,
    directory: Annotated[
        Path | None, typer.Option(help="Where to work; emptied at the end. Default: temporary.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Make the data set, take the steps, print one line for each."""
    set_up_logging()
    base = Path(tempfile.mkdtemp(prefix="userip-scale-", dir=directory))
    try:
        made = simulated_dataset(base / "set", users, seed)
        print(f"{users:,} users, {made:,} interactions", flush=True)
        config = scale_config()
        for step in ("language", "infer", "quantize"):
            work = partial(run_step, step, Dataset.open(base / "set"), base / "run", config, seed)
            seconds, most = _watched(work)
            del work  # and the tables that its data set has read
            print(
                f"{step:9s} {seconds:7.0f} s   RssAnon at most {most:6,.0f} MiB   "
                f"VmHWM so far {status_mb('VmHWM'):6,.0f} MiB",
                flush=True,
            )
        size = (base / "run" / "infer" / "z.npy").stat().st_size
        codes = pl.scan_parquet(base / "run" / "quantize" / "codes.parquet").select(pl.len()).collect().item()
        print(f"table of soft prompts {size / MIB:,.0f} MiB on disk, codes of {codes:,} views")
    finally:
        shutil.rmtree(base)


def scale_config() -> TrainConfig:
    """The defaults without E steps, tuning of the start, or surrogate, and hardly any training."""
    return load_config(
        environment={},
        settings=(
            "language.steps=2", "infer.steps=0", "infer.shared_steps=0", "infer.probe_users=0",
            "quantize.em_rounds=0", "quantize.surrogate=false", "quantize.click_weight=0", "quantize.restarts=1",
        ),
    )  # fmt: skip


def simulated_dataset(path: Path, users: int, seed: int, items: int = 3000) -> int:
    """Write a data set directory of random histories, in row groups; returns the number of interactions."""
    path.mkdir(parents=True)
    histories = simulated_histories(users, items, seed)
    draw = np.random.default_rng([seed, 2])
    frame = pl.DataFrame({"user": histories.owner.astype(np.int32), "item": histories.items.astype(np.int32)})
    frame = frame.with_columns(
        label=pl.Series(histories.liked),
        timestamp=pl.int_range(pl.len(), dtype=pl.Int64),
        part=pl.Series(draw.integers(0, len(PARTS), frame.height, dtype=np.int8)),
    ).unique(["user", "item"], keep="first", maintain_order=True)
    del histories
    lazy = frame.lazy().select(
        user_id=pl.format("u{}", pl.col("user").cast(pl.String).str.zfill(8)),
        item_id=pl.format("item-{}", pl.col("item").cast(pl.String).str.zfill(6)),
        label="label",
        rating=pl.lit(None, pl.Float32),
        timestamp="timestamp",
        split=pl.col("part").replace_strict(list(range(len(PARTS))), list(PARTS), return_dtype=pl.String),
    )
    lazy.sink_parquet(path / INTERACTIONS)
    simulated_catalogue(items, seed).write_parquet(path / ITEMS)
    files = {name: sha256_of(path / name) for name in (INTERACTIONS, ITEMS)}
    info = DatasetInfo(
        name="scale", format_version=FORMAT_VERSION, sources={}, files=files, positive_above=None, min_interactions=1,
        split="random", seed=seed, counts={}, attributes=ATTRIBUTES, split_hash=files[INTERACTIONS],
    )  # fmt: skip
    (path / INFO).write_text(info.model_dump_json(), encoding="utf-8")
    return frame.height


def _watched(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that `work` takes, and the most anonymous memory meanwhile, in MiB, looked at ten times a second."""
    most, done = [status_mb("RssAnon")], threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            most[0] = max(most[0], status_mb("RssAnon"))

    watcher = threading.Thread(target=look, daemon=True)
    begun = time.monotonic()
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return time.monotonic() - begun, most[0]


if __name__ == "__main__":
    typer.run(scale)
