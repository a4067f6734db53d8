"""Tables and vectors that a graph is run with: from files of the release, from records of the bank."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.fixtures.tiny_release import TinyRelease, change_manifest
from userip.release.errors import ReleaseError
from userip.release.manifest import FieldSpec
from userip.scoring.releases.loaded_release import load_release
from userip.scoring.scorer import Scorer, Shape, Task

WIDTH = 3


@dataclass(frozen=True)
class Dense:
    """A graph that scores sigmoid(item row . user's vector), its table and its shape."""

    model: bytes
    table: NDArray[np.float32]
    shape: Shape

    def expected(self, items: list[int], vector: NDArray[np.float32]) -> list[float]:
        """The same with explicit loops, in float64."""
        logits = [sum(float(self.table[i, k]) * float(vector[k]) for k in range(WIDTH)) for i in items]
        return [1 / (1 + np.exp(-logit)) for logit in logits]


@pytest.fixture
def dense() -> Dense:
    """Eight items and vectors of three numbers."""
    table = np.random.default_rng(3).normal(size=(8, WIDTH)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "items"], ["rows"]),
        helper.make_node("Gather", ["vector", "request"], ["users"]),
        helper.make_node("Mul", ["rows", "users"], ["products"]),
        helper.make_node("ReduceSum", ["products", "axis"], ["logit"], keepdims=0),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    shapes: dict[str, tuple[int, list[Any]]] = {
        "items": (TensorProto.INT64, ["N"]),
        "request": (TensorProto.INT64, ["N"]),
        "vector": (TensorProto.FLOAT, ["B", WIDTH]),
        "table": (TensorProto.FLOAT, [8, WIDTH]),
    }
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in shapes.items()]
    output = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"])
    axis = onnx.numpy_helper.from_array(np.array([1], np.int64), "axis")
    graph = helper.make_graph(nodes, "dense", inputs, [output], [axis])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Dense(model.SerializeToString(), table, Shape(items=8, user=None, slots=(), context=(), vector=WIDTH))


def test_each_task_is_scored_with_its_own_vector(dense: Dense) -> None:
    """Vectors come as the record's bytes; who has none is scored with zeros."""
    scorer = Scorer(dense.model, dense.shape, {"table": dense.table})
    scorer.warm_up(100)
    vectors = np.random.default_rng(4).normal(size=(3, WIDTH)).astype(np.float32)
    tasks = [
        Task(np.array([1, 2]), 0, (), (), vectors[0].tobytes()),
        Task(np.array([2]), 0, (), ()),
        Task(np.array([7, 1]), 0, (), (), vectors[2].tobytes()),
    ]
    vectors[1] = 0
    for found, task, vector in zip(scorer.run(tasks), tasks, vectors, strict=True):
        np.testing.assert_allclose(found, dense.expected(list(task.items), vector), atol=1e-6)
    assert scorer.run(tasks)[1][0] == 0.5


@pytest.mark.parametrize("tables", [{}, {"table": (8, 4)}, {"table": (7, 3)}, {"other": (8, 3)}])
def test_tables_that_do_not_fit_the_graph_are_refused(dense: Dense, tables: dict[str, tuple[int, int]]) -> None:
    """A missing table, another name, another shape: told when the release is loaded, not by a request."""
    given = {name: np.zeros(shape, np.float32) for name, shape in tables.items()}
    with pytest.raises(ReleaseError, match="input"):
        Scorer(dense.model, dense.shape, given)


def test_a_loaded_release_needs_its_directory_no_more(tiny: TinyRelease, dense: Dense, tmp_path: Path) -> None:
    """The array that the graph is run with lies in a copy that workers share: the release's own file may change.

    Copied over in place, or cut short, it changes no score, and such a directory is refused when it is loaded again.
    """
    fields = (FieldSpec(name="item_id", source="item_row", size=8),)
    (tiny.path / "scorer.onnx").write_bytes(dense.model)
    np.save(tiny.path / "table.npy", dense.table)
    change_manifest(tiny, fields=fields, facets=(), tables={"table": "table.npy"}, vector=WIDTH)
    shared = tmp_path / "run"
    releases = [load_release(tiny.path, shared), load_release(tiny.path, shared), load_release(tiny.path)]
    mapped = Path("/proc/self/maps").read_text()
    assert f"{tiny.path}/" not in mapped
    (copy,) = shared.glob("*.copy")
    assert mapped.count(f"{copy}\n") == 2
    for damage in (bytes(96), b""):
        with (tiny.path / "table.npy").open("r+b") as file:
            file.seek(128)
            file.write(damage)
            file.truncate()
        for release in releases:
            (scores,) = release.scorer.run([Task(np.array([3]), 0, (), (), dense.table[3].tobytes())])
            np.testing.assert_allclose(scores, dense.expected([3], dense.table[3]), atol=1e-6)
        for place in (None, shared):
            with pytest.raises(ReleaseError, match=r"table\.npy: sha256 differs"):
                load_release(tiny.path, place)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (np.zeros((8, 3)), "expected float32"),
        (np.zeros(24, np.float32), "expected float32"),
        (np.asfortranarray(np.zeros((8, 3), np.float32)), "in C order"),
        (None, "not a .npy file"),
    ],
)
def test_a_table_of_another_kind_is_refused(
    tiny: TinyRelease, dense: Dense, table: NDArray[Any] | None, problem: str
) -> None:
    """Type, dimensions, order, and a file that is none: the error names the file."""
    (tiny.path / "scorer.onnx").write_bytes(dense.model)
    if table is None:
        (tiny.path / "table.npy").write_bytes(b"nothing of the kind")
    else:
        np.save(tiny.path / "table.npy", table)
    change_manifest(
        tiny, fields=(FieldSpec(name="item_id", source="item_row", size=8),), facets=(), tables={"table": "table.npy"}
    )
    with pytest.raises(ReleaseError, match=rf"table\.npy.*{problem}"):
        load_release(tiny.path)


def test_a_table_without_a_hash_is_refused(tiny: TinyRelease) -> None:
    """A file that the manifest does not hash is never loaded."""
    change_manifest(tiny, tables={"table": "elsewhere.npy"})
    with pytest.raises(ReleaseError, match=r"no hash for elsewhere\.npy"):
        load_release(tiny.path)
