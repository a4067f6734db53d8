"""Predictions on disk, under the hash of everything that they depend on: a repeated evaluation fits nothing."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final, NamedTuple
from zipfile import BadZipFile

import numpy as np
import polars as pl

from userip.evaluation.results import Predictions
from userip.files import beside

CELL_VERSION: Final = 1  # goes up with every change of what a fit of the same settings predicts


class Stored(NamedTuple):
    """valid float32 [n_valid], test float32 [.., n_test], seconds that it took to make them."""

    valid: Predictions
    test: Predictions
    seconds: float


def key_of(content: dict[str, Any]) -> str:
    """sha256 of what a prediction depends on, as JSON, and of the version of the code that makes it."""
    text = json.dumps(content | {"version": CELL_VERSION}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read(directory: Path, key: str) -> Stored | None:
    """What is stored under `key`, or None. A file that cannot be read counts as missing and is made again."""
    try:
        with (directory / f"{key}.npz").open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return Stored(file["valid"], file["test"], float(file["seconds"]))
    except (ValueError, KeyError, EOFError, OSError, BadZipFile):
        return None


def write(directory: Path, key: str, stored: Stored) -> None:
    """Store under `key`, whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    with beside(directory / f"{key}.npz", shared=True) as partial, partial.open("wb") as file:
        np.savez(file, valid=stored.valid, test=stored.test, seconds=np.float64(stored.seconds))


def write_frame(file: Path, frame: pl.DataFrame) -> None:
    """Write a table as Parquet, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with beside(file, shared=True) as partial:
        frame.write_parquet(partial)
