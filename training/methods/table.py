"""Soft prompts of all views, in a memory-mapped file that is filled batch by batch and survives a kill."""

import mmap
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from userip.disk import room_for
from userip.training.crossfit.histories import Ints
from userip.training.malloc_trim import return_freed

TRIM_EVERY = 8  # batches, some seconds


class ProfileTable:
    """float32 [V, J, m, d] in `<name>.npy`, and `<name>.done`: one byte per batch, 1 when its rows are written.

    A batch is written, flushed, and only then marked: after a kill, marked rows are whole and the rest is redone.
    Memory holds the rows at hand, not the table. The disk holds all of it from the start. Raises DiskFullError.
    """

    def __init__(self, directory: Path, name: str, shape: tuple[int, int, int, int], batches: int) -> None:
        self._values = directory / f"{name}.npy"
        self._marks = directory / f"{name}.done"
        if not self._marks.is_file() or self._marks.stat().st_size != batches:
            with room_for(self._values):
                fresh = np.lib.format.open_memmap(self._values, mode="w+", dtype=np.float32, shape=shape)
                del fresh
                # numpy makes a file full of holes, and a hole that is written to on a full disk kills (SIGBUS).
                with self._values.open("r+b") as values:
                    os.posix_fallocate(values.fileno(), 0, self._values.stat().st_size)
                self._marks.write_bytes(bytes(batches))
        self._map = np.lib.format.open_memmap(self._values, mode="r+")

    @classmethod
    def open(cls, directory: Path, name: str) -> "ProfileTable":
        """A finished table, for reading."""
        table = cls.__new__(cls)
        table._values, table._marks = directory / f"{name}.npy", directory / f"{name}.done"
        table._map = np.lib.format.open_memmap(table._values, mode="r")
        return table

    def __getitem__(self, views: Ints) -> Tensor:
        values = torch.from_numpy(np.array(self._map[views]))
        self._forget()
        return values

    def _forget(self) -> None:
        """Let the mapped pages go: the file keeps what they hold. Else the process comes to map the whole table."""
        mapped: mmap.mmap = self._map._mmap  # type: ignore[attr-defined]  # numpy leaves it untyped
        mapped.madvise(mmap.MADV_DONTNEED)

    def pending(self) -> list[int]:
        """Batches that are not written yet."""
        return [k for k, mark in enumerate(self._marks.read_bytes()) if not mark]

    def write(self, batch: int, views: Ints, values: Tensor) -> None:
        """Write the rows of one batch, then mark it."""
        self._map[views] = values.numpy()
        self._map.flush()
        with self._marks.open("r+b") as marks:
            marks.seek(batch)
            marks.write(b"\1")
        if batch % TRIM_EVERY == 0:
            self._forget()
            return_freed()
