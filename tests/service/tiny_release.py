"""A small real release: a hand-built ONNX graph, its manifest, and the same scores by hand in numpy."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from userip.release.manifest import CodeDescription, Facet, FieldSpec, ItemLift, Manifest, sha256_of

ITEMS = ("plain", "with/slash", "ünïcode", "item 4", "i5", "i6", "i7")
USERS = 5  # rows of the user table without row 0
HOBBY, BACKGROUND, GENDER = 4, 3, 2  # categories of the three slots
DEVICES = ("mobile", "tv")


@dataclass(frozen=True)
class TinyRelease:
    """A release directory and the tables behind its graph; row 0 of every table = unknown."""

    path: Path
    name: str
    items: NDArray[np.float32]
    user: NDArray[np.float32]
    slots: tuple[NDArray[np.float32], ...]
    context: NDArray[np.float32]

    def expected(
        self,
        item_ids: Sequence[str],
        row: int = 0,
        codes: Sequence[int] = (0xFFFF, 0xFFFF, 0xFFFF),
        device: str | None = None,
    ) -> NDArray[np.float64]:
        """sigmoid(sum of the tables' entries), float64 [N]; `codes` as a record holds them."""
        shared = float(self.user[row])
        shared += sum(
            float(table[0 if code == 0xFFFF else code + 1]) for table, code in zip(self.slots, codes, strict=True)
        )
        shared += float(self.context[DEVICES.index(device) + 1 if device in DEVICES else 0])
        own = [float(self.items[ITEMS.index(item) + 1 if item in ITEMS else 0]) for item in item_ids]
        return np.array([1 / (1 + np.exp(-(value + shared))) for value in own])


def write_release(directory: Path, seed: int = 0, **changes: object) -> TinyRelease:
    """Write a release into `directory` (made if need be); `changes` replace fields of the manifest."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    random = np.random.default_rng(seed)

    def table(rows: int) -> NDArray[np.float32]:
        return random.normal(size=rows).astype(np.float32)

    release = TinyRelease(
        path=directory,
        name=str(changes.get("release", f"tiny-userip-{seed:08x}")),
        items=table(len(ITEMS) + 1),
        user=table(USERS + 1),
        slots=(table(HOBBY + 1), table(BACKGROUND + 1), table(GENDER + 1)),
        context=table(len(DEVICES) + 1),
    )
    (directory / "scorer.onnx").write_bytes(scorer_graph(release).SerializeToString())
    write_items(directory / "items.npz", ITEMS)
    (directory / "metrics.json").write_text('{"test": {"auc": 0.5}}')
    write_manifest(release, changes)
    return release


def scorer_graph(release: TinyRelease) -> onnx.ModelProto:
    """probability = Sigmoid(items[i] + Gather(user + slots + context, request))."""
    nodes = [
        helper.make_node("Gather", ["item_table", "items"], ["item_part"]),
        helper.make_node("Gather", ["user_table", "user"], ["part_user"]),
    ]
    tables = {"item_table": release.items, "user_table": release.user, "context_table": release.context}
    parts = ["part_user"]
    for index, slot in enumerate(release.slots):
        tables[f"slot_table_{index}"] = slot
        nodes += [
            helper.make_node("Gather", ["slots", f"at_{index}"], [f"column_{index}"], axis=1),
            helper.make_node("Gather", [f"slot_table_{index}", f"column_{index}"], [f"part_{index}"]),
        ]
        parts.append(f"part_{index}")
    nodes += [
        helper.make_node("Gather", ["context", "at_0"], ["context_column"], axis=1),
        helper.make_node("Gather", ["context_table", "context_column"], ["part_context"]),
        helper.make_node("Sum", [*parts, "part_context"], ["shared"]),
        helper.make_node("Gather", ["shared", "request"], ["spread"]),
        helper.make_node("Add", ["item_part", "spread"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in tables.items()]
    constants += [numpy_helper.from_array(np.array(i, np.int64), f"at_{i}") for i in range(len(release.slots))]
    shapes: dict[str, list[str | int]] = {
        "items": ["N"],
        "request": ["N"],
        "user": ["B"],
        "slots": ["B", len(release.slots)],
        "context": ["B", 1],
    }
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"])
    graph = helper.make_graph(nodes, "tiny", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_items(path: Path, ids: Sequence[str]) -> None:
    """items.npz as the exporter writes it."""
    encoded = [item.encode() for item in ids]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    np.savez(path, blob=np.frombuffer(b"".join(encoded), np.uint8), offsets=offsets)


def write_manifest(release: TinyRelease, changes: Mapping[str, Any]) -> None:
    """manifest.json with the hashes of what lies in the directory now."""
    files = {path.name: sha256_of(path) for path in sorted(release.path.iterdir()) if path.name != "manifest.json"}
    values: dict[str, Any] = {
        "format": 2,
        "release": release.name,
        "created": "2025-01-01T00:00:00Z",
        "dataset": {"name": "tiny", "path": "/secret/place"},
        "method": {"name": "userip"},
        "fields": FIELDS,
        "facets": (_facet("hobby", 0, HOBBY), _facet("background", 1, BACKGROUND)),
        "users": USERS,
        "items": len(ITEMS),
        "metrics": {"test": {"auc": 0.5}},
        "files": files,
    }
    manifest = Manifest(**(values | dict(changes)))
    (release.path / "manifest.json").write_text(json.dumps(manifest.model_dump(mode="json")))


def change_manifest(tiny: TinyRelease, /, **changes: object) -> None:
    """Write the manifest again with other values."""
    write_manifest(tiny, changes)


FIELDS = (
    FieldSpec(name="user_id", source="user_row", size=USERS + 1),
    FieldSpec(name="item_id", source="item_row", size=len(ITEMS) + 1),
    FieldSpec(name="genre", source="item", size=9),
    FieldSpec(name="hobby", source="code", size=HOBBY + 1, slot=0),
    FieldSpec(name="background", source="code", size=BACKGROUND + 1, slot=1),
    FieldSpec(name="gender", source="user", size=GENDER + 1, slot=2, values=("F", "M")),
    FieldSpec(name="device", source="context", size=len(DEVICES) + 1, values=DEVICES),
)


def _facet(name: str, slot: int, size: int) -> Facet:
    liked = (ItemLift(item_id="i5", title="Five", lift=2.0),)
    codes = tuple(
        CodeDescription(description=(f"{name} {code}", "wörd"), items=liked, share=1 / size) for code in range(size)
    )
    return Facet(name=name, slot=slot, codebook_size=size, codes=codes)
