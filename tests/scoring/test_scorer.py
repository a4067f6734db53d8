"""From rows to probabilities, and which graphs are taken."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.fixtures.tiny_release import ITEMS, TinyRelease, scorer_graph
from userip.release.errors import ReleaseError
from userip.scoring.errors import ScoringError
from userip.scoring.scorer import Scorer, Shape, Task

SHAPE = Shape(items=8, user=6, slots=(5, 4, 3), context=(3,))


@pytest.fixture
def graph(tiny: TinyRelease) -> onnx.ModelProto:
    """The tiny release's graph, to be changed."""
    return scorer_graph(tiny)


def test_tasks_of_one_run_do_not_mix(tiny: TinyRelease, graph: onnx.ModelProto) -> None:
    """For 200 random sets of tasks, of any sizes, each task gets the scores computed by hand."""
    scorer = Scorer(graph.SerializeToString(), SHAPE)
    random = np.random.default_rng(7)
    for _ in range(200):
        tasks, expected = [], []
        for _ in range(random.integers(1, 6)):
            items = random.integers(0, 8, size=random.integers(0, 9)).tolist()
            user = int(random.integers(0, 6))
            slots = [int(random.integers(0, size)) for size in SHAPE.slots]
            device = int(random.integers(0, 3))
            tasks.append(Task(np.array(items, np.int64), user, slots, [device]))
            names = ["unknown" if row == 0 else ITEMS[row - 1] for row in items]
            codes = [(slot - 1) % 65536 for slot in slots]
            expected.append(tiny.expected(names, user, codes, (None, "mobile", "tv")[device]))
        for found, right in zip(scorer.run(tasks), expected, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, right, atol=1e-6)


def test_warm_up_passes_for_a_graph_that_fits(graph: onnx.ModelProto) -> None:
    """Small, full and last rows run."""
    Scorer(graph.SerializeToString(), SHAPE).warm_up(1000)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(items=9, user=6, slots=(5, 4, 3), context=(3,)),
        Shape(items=8, user=7, slots=(5, 4, 3), context=(3,)),
        Shape(items=8, user=6, slots=(5, 5, 3), context=(3,)),
        Shape(items=8, user=6, slots=(5, 4, 3), context=(4,)),
    ],
)
def test_table_shorter_than_the_manifest_says_is_found_at_warm_up(graph: onnx.ModelProto, shape: Shape) -> None:
    """A row that the manifest promises and the graph lacks stops the load, not a later request."""
    with pytest.raises(ScoringError, match="rows that it should have"):
        Scorer(graph.SerializeToString(), shape).warm_up(10)


def drop_context(graph: onnx.ModelProto) -> None:
    del graph.graph.input[4]


def add_input(graph: onnx.ModelProto) -> None:
    graph.graph.input.append(helper.make_tensor_value_info("more", TensorProto.INT64, ["N"]))


def narrow_slots(graph: onnx.ModelProto) -> None:
    graph.graph.input[3].type.tensor_type.shape.dim[1].dim_value = 2


def fix_batch(graph: onnx.ModelProto) -> None:
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 10


def int32_items(graph: onnx.ModelProto) -> None:
    graph.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32


def rename_output(graph: onnx.ModelProto) -> None:
    graph.graph.node[-1].output[0] = "score"
    graph.graph.output[0].name = "score"


@pytest.mark.parametrize("change", [drop_context, add_input, narrow_slots, fix_batch, int32_items, rename_output])
def test_graph_with_another_signature_is_refused(
    graph: onnx.ModelProto, change: Callable[[onnx.ModelProto], None]
) -> None:
    """Inputs and output must be exactly those that the manifest's fields call for."""
    change(graph)
    with pytest.raises(ReleaseError, match=r"scorer\.onnx"):
        Scorer(graph.SerializeToString(), SHAPE)


def test_values_that_are_not_numbers_are_never_given_out(graph: onnx.ModelProto) -> None:
    """A NaN in a table raises instead of leaving as a score."""
    table = next(tensor for tensor in graph.graph.initializer if tensor.name == "item_table")
    values = np.frombuffer(table.raw_data, np.float32).copy()
    values[3] = np.nan
    table.raw_data = values.tobytes()
    scorer = Scorer(graph.SerializeToString(), SHAPE)
    scorer.run([Task(np.array([1, 2]), 0, [0, 0, 0], [0])])
    with pytest.raises(ScoringError):
        scorer.run([Task(np.array([1, 3]), 0, [0, 0, 0], [0])])


def test_graph_without_user_slots_and_context_takes_items_alone(tiny: TinyRelease) -> None:
    """A release of items only has the inputs `items` and `request`, and serves."""
    nodes = [
        helper.make_node("Gather", ["item_table", "items"], ["own"]),
        helper.make_node("Sigmoid", ["own"], ["probability"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["N"]) for name in ("items", "request")]
    output = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"])
    table = onnx.numpy_helper.from_array(tiny.items, "item_table")
    model = helper.make_model(
        helper.make_graph(nodes, "bare", inputs, [output], [table]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    scorer = Scorer(model.SerializeToString(), Shape(items=8, user=None, slots=(), context=()))
    scorer.warm_up(10)
    (scores,) = scorer.run([Task(np.array([1, 0]), 0, (), ())])
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-tiny.items[[1, 0]])), atol=1e-6)
