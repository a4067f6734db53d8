"""What an ONNX file may not contain, checked on its bytes before ONNX Runtime sees them.

The base install has no `onnx` package, and needs none: the few fields of interest are reached by walking the
protobuf wire format (onnx.proto, field numbers below; they never change).
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from userip.release.errors import ReleaseError

# No control flow (If, Loop, Scan), nothing that reads files, the clock or random numbers, and nothing whose size is a
# number in the file or in its input (ConstantOfShape, Expand, Tile, Pad, Range, Resize, OneHot). What each can make:
# elementwise        Add Sub Mul Div Pow Sum Relu Sigmoid Softmax: as much as its operands broadcast to
# the same elements  Reshape Squeeze Unsqueeze Transpose Split Concat: what goes in; a shape that differs is an error
# looked up          Gather GatherND: one slice for each index, and the indices lie in the file or in the request;
#                    ONNX Runtime stops at one that is out of range
# products           MatMul Gemm: rows of the one by columns of the other
# less               ReduceSum
# So memory is bounded by candidates and file size, unless operands are crossed on purpose (N by N). Before a release is
# served it runs at its full size once: what does not fit fails when it is loaded, not in a request.
FOLDED: Final = frozenset({  # what the graphs of `models.recommenders` hold, and Sum
    "Add", "Concat", "Gather", "Gemm", "MatMul", "Mul", "ReduceSum", "Relu", "Sigmoid", "Softmax", "Split", "Squeeze",
    "Sum", "Unsqueeze",
})  # fmt: skip
PLAIN: Final = frozenset({"Div", "GatherND", "Pow", "Reshape", "Sub", "Transpose"})  # what torch's exporter adds
OPERATORS: Final = FOLDED | PLAIN
# Far above what an export has: a hundred or so of each.
_MOST: Final = {"node": 2_000, "tensor": 2_000}
_STANDARD_DOMAINS: Final = ("", "ai.onnx")

# message -> {field number: message inside}
_INSIDE = {
    "model": {7: "graph", 8: "opset"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor"},
}
# (message, field number) -> why a file that has it is refused
_FORBIDDEN = {
    ("model", 20): "carries training information",
    ("model", 25): "defines functions of its own",
    ("graph", 15): "has sparse tensors",
    ("attribute", 6): "has graphs inside its graph",
    ("attribute", 11): "has graphs inside its graph",
    ("attribute", 22): "has sparse tensors",
    ("attribute", 23): "has sparse tensors",
    ("tensor", 13): "keeps tensors outside the file",
}
_DOMAIN_FIELDS = {("opset", 1), ("node", 7)}
_OPERATOR = ("node", 4)
_DATA_LOCATION = ("tensor", 14)


def refuse_unsafe(model: bytes, name: str) -> None:
    """Raise ReleaseError, naming the file, for operators that no export has, custom domains, functions, inner
    graphs, external data, and more nodes or tensors than any export has.

    External data matters most: a model from bytes resolves it against the working directory, so a crafted
    file could read any file of the process.
    """
    try:
        _check(memoryview(model), "model", name, Counter())
    except (IndexError, UnicodeDecodeError):
        raise ReleaseError(f"{name}: not an ONNX file, or cut short") from None


def _check(message: memoryview, kind: str, name: str, seen: Counter[str]) -> None:
    seen[kind] += 1
    if seen[kind] > _MOST.get(kind, seen[kind]):
        raise ReleaseError(f"{name}: more than {_MOST[kind]} {kind}s; no export has so many")
    for number, value in _fields(message):
        where = (kind, number)
        if where in _FORBIDDEN:
            raise ReleaseError(f"{name}: {_FORBIDDEN[where]}; only plain standard graphs are loaded")
        if where == _DATA_LOCATION and value != 0:
            raise ReleaseError(f"{name}: keeps tensors outside the file; only plain standard graphs are loaded")
        if isinstance(value, int):
            continue
        if where in _DOMAIN_FIELDS and bytes(value).decode() not in _STANDARD_DOMAINS:
            raise ReleaseError(f"{name}: uses operators of {bytes(value).decode()!r}, not of standard ONNX")
        if where == _OPERATOR and (operator := bytes(value).decode()) not in OPERATORS:
            raise ReleaseError(
                f"{name}: uses the operator {operator!r}, which is not among the allowed (release.graph_allowlist)"
            )
        inside = _INSIDE.get(kind, {}).get(number)
        if inside is not None:
            _check(value, inside, name, seen)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, integer or bytes) of one message; IndexError when it is cut short."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise IndexError("no such wire type in ONNX")
        if at + size > end:
            raise IndexError("field runs past its message")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError("varint too long")
