"""From row numbers to probabilities in one ONNX run. Knows nothing of HTTP, ids or banks."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from userip.release.errors import ReleaseError
from userip.release.field_rows import FieldRows
from userip.scoring.errors import ScoringError
from userip.scoring.onnx_runtime import ort

OUTPUT = "probability"
_INT64 = "tensor(int64)"
_FLOAT = "tensor(float)"


@dataclass(frozen=True, slots=True)
class Shape:
    """How many rows every table of the graph has; row 0 = unknown. `user` is None without a user field.

    vector  how many floats a record carries for the graph
    """

    items: int
    user: int | None
    slots: tuple[int, ...]
    context: tuple[int, ...]
    vector: int = 0


@dataclass(slots=True)
class Task:
    """One request: its candidates' rows int64 [N], its user's row, and one row per slot and per context field.

    vector  the record's float32 [V] as bytes; empty for a user without one, who is scored with zeros
    """

    items: NDArray[np.int64]
    user: int
    slots: Sequence[int]
    context: Sequence[int]
    vector: bytes = b""


class Scorer:
    """A folded graph and the arrays that it takes.

    Inputs `items` int64 [N], `request` int64 [N] (which request a candidate belongs to), and, where the
    release has such fields, `user` int64 [B], `slots` int64 [B, S], `context` int64 [B, C], `vector` float32
    [B, V]; then the tables, the same ones in every run; output `probability` float32 [N].
    """

    def __init__(
        self,
        model: bytes,
        shape: Shape,
        tables: Mapping[str, NDArray[np.float32]] | None = None,
        name: str = "scorer.onnx",
    ) -> None:
        """Take `tables`, float32 [rows, width] each. Raise ReleaseError, naming the file, for a graph that asks for
        other inputs or gives other outputs.
        """
        options = ort.SessionOptions()
        # One thread and no spinning: parallelism comes from workers, and a spinning pool burns the cores that
        # the other workers and the bank need between two requests.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise ReleaseError(f"{name}: ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from None
        self.shape = shape
        self.long_run = sys.maxsize
        self._tables = dict(tables or {})
        _check_signature(self._session, self._expected(), shape.vector, self._tables, name)
        # Without the runtime's checks of names and owners in each run, 3 us: the signature has just been checked.
        self._run = self._session._sess.run
        self._has_user = shape.user is not None
        self._has_slots = bool(shape.slots)
        self._has_context = bool(shape.context)

    def run(self, tasks: Sequence[Task]) -> list[NDArray[np.float32]]:
        """Score all tasks in one run; one float32 [N_i] per task, in order. Raises ScoringError."""
        counts = [len(task.items) for task in tasks]
        total = sum(counts)
        if total == 0:
            return [np.empty(0, np.float32) for _ in tasks]
        if len(tasks) == 1:
            items, request = tasks[0].items, _first_request(total)
        else:
            items, request = np.concatenate([task.items for task in tasks]), np.repeat(np.arange(len(tasks)), counts)
        feed = self._rows(tasks, items, request) | self._tables
        if floats := self.shape.vector:
            nothing = bytes(4 * floats)
            vectors = b"".join([task.vector or nothing for task in tasks])
            feed["vector"] = np.frombuffer(vectors, "<f4").reshape(len(tasks), floats)
        scores: NDArray[np.float32] = self._run((OUTPUT,), feed, None)[0]
        # A NaN would leave as JSON null and be ranked somewhere. The sum is not finite if any score is not.
        if scores.shape != (total,) or not math.isfinite(np.add.reduce(scores)):
            raise ScoringError(f"the graph gave {scores.shape} values, or some that are not numbers")
        if len(tasks) == 1:
            return [scores]
        return np.split(scores, np.cumsum(counts)[:-1])

    def warm_up(self, candidates: int) -> None:
        """Run small and full sizes and the last row of every table, before the first request pays for it.

        Afterwards `long_run` says from how many candidates on a run takes longer than a thread hop is worth.
        Raises ScoringError for results that are not probabilities, or a table that is shorter than stated.
        """
        first = Task(np.zeros(1, np.int64), 0, [0] * len(self.shape.slots), [0] * len(self.shape.context))
        last = Task(
            np.array([self.shape.items - 1]),
            (self.shape.user or 1) - 1,
            [size - 1 for size in self.shape.slots],
            [size - 1 for size in self.shape.context],
        )
        fastest = math.inf
        full = Task(np.arange(candidates) % self.shape.items, last.user, last.slots, last.context)
        for tasks in ([first], [last], [full], [first, last, full], [full], [full]):
            started = time.perf_counter()
            try:
                results = self.run(tasks)
            except ScoringError:
                raise
            except Exception as error:
                raise ScoringError(
                    f"the graph fails on rows that it should have: {str(error).splitlines()[0]}"
                ) from None
            if any(scores.min() < 0 or scores.max() > 1 for scores in results):
                raise ScoringError("the graph gave values outside 0..1")
            if tasks[0] is full:
                fastest = min(fastest, time.perf_counter() - started)
        self.long_run = int(_LONG_S / fastest * candidates)

    def _expected(self) -> dict[str, tuple[int | None, ...]]:
        """The inputs of rows, int64, with their shapes; None is for a length that differs from run to run."""
        shape, expected = self.shape, dict[str, tuple[int | None, ...]](items=(None,), request=(None,))
        if shape.user is not None:
            expected["user"] = (None,)
        if shape.slots:
            expected["slots"] = (None, len(shape.slots))
        if shape.context:
            expected["context"] = (None, len(shape.context))
        return expected

    def _rows(self, tasks: Sequence[Task], items: NDArray[np.int64], request: NDArray[np.int64]) -> dict[str, Any]:
        """What `_expected` asks for, of these tasks."""
        feed: dict[str, Any] = {"items": items, "request": request}
        if self._has_user:
            feed["user"] = np.array([task.user for task in tasks], np.int64)
        if self._has_slots:
            feed["slots"] = np.array([task.slots for task in tasks], np.int64)
        if self._has_context:
            feed["context"] = np.array([task.context for task in tasks], np.int64)
        return feed


class PlainScorer(Scorer):
    """A plain graph: its one input of rows is `rows` int64 [N, F], put together of the same parts."""

    def __init__(
        self,
        model: bytes,
        shape: Shape,
        tables: Mapping[str, NDArray[np.float32]],
        field_rows: FieldRows,
        name: str = "scorer.onnx",
    ) -> None:
        self._field_rows = field_rows
        super().__init__(model, shape, tables, name)

    def _expected(self) -> dict[str, tuple[int | None, ...]]:
        return {"rows": (None, self._field_rows.width)}

    def _rows(self, tasks: Sequence[Task], items: NDArray[np.int64], request: NDArray[np.int64]) -> dict[str, Any]:
        return {"rows": self._field_rows(super()._rows(tasks, items, request))}


_LONG_S = 0.002  # for so long a run may hold up the event loop; a thread hop costs some 30 us, more on a busy machine
_ZEROS = np.zeros(10_000, np.int64)
_ZEROS.setflags(write=False)


def _first_request(candidates: int) -> NDArray[np.int64]:
    """The `request` input of a run with one task."""
    return _ZEROS[:candidates] if candidates <= len(_ZEROS) else np.zeros(candidates, np.int64)


def _check_signature(
    session: ort.InferenceSession,
    expected: dict[str, tuple[int | None, ...]],
    vector: int,
    tables: Mapping[str, NDArray[np.float32]],
    name: str,
) -> None:
    rows = set(expected)
    if vector:
        expected["vector"] = (None, vector)
    for label, table in tables.items():
        expected[label] = table.shape
    found = {node.name: node for node in session.get_inputs()}
    if set(found) != set(expected):
        raise ReleaseError(f"{name}: inputs {sorted(found)}, the manifest's fields and tables give {sorted(expected)}")
    for label, dimensions in expected.items():
        node, kind = found[label], _INT64 if label in rows else _FLOAT
        if node.type != kind or not _fits(node.shape, dimensions):
            raise ReleaseError(f"{name}: input {label} is {node.type} {node.shape}, expected {kind} {dimensions}")
    outputs = [(node.name, node.type) for node in session.get_outputs()]
    if outputs != [(OUTPUT, _FLOAT)]:
        raise ReleaseError(f"{name}: outputs {outputs}, expected one {OUTPUT} of {_FLOAT}")


def _fits(found: Sequence[Any], expected: tuple[int | None, ...]) -> bool:
    """Whether a declared shape allows `expected` (None = must be symbolic)."""
    return len(found) == len(expected) and all(
        not isinstance(have, int) if need is None else (not isinstance(have, int) or have == need)
        for have, need in zip(found, expected, strict=True)
    )
