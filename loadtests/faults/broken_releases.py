"""Releases that must not be served, each broken in a way of its own."""

import json
import shutil
from pathlib import Path
from typing import Final

from userip.bank.protocol import Bank
from userip.ops.publish import publish_release
from userip.release.golden import GOLDEN
from userip.release.manifest import ITEMS, MANIFEST, SCORER, read_manifest, sha256_of

BROKEN: Final = ("altered", "truncated", "misshapen", "misanswering", "unpublished")


def write_broken(kind: str, source: Path, releases: Path, bank: Bank) -> str:
    """A copy of a release under a name of its own, in the bank unless it is to lack it, then broken; its name."""
    directory, name = releases / kind, f"broken-{kind}"
    shutil.copytree(source, directory)
    _change(directory, release=name)
    if kind != "unpublished":
        publish_release(directory, bank, activate=False)
    if kind == "altered":
        with (directory / ITEMS).open("ab") as file:
            file.write(b"\x00")
    elif kind == "truncated":
        (directory / SCORER).write_bytes((directory / SCORER).read_bytes()[:1000])
        _change(directory)
    elif kind == "misshapen":
        _change(directory, items=read_manifest(directory).items - 1)
    elif kind == "misanswering":
        slots = read_manifest(directory).slots
        request = {"row": 0, "codes": [0] * slots, "items": ["none"], "context": {}, "probabilities": [1.0]}
        (directory / GOLDEN).write_text(json.dumps({"requests": [request]}))
        _change(directory)
    return name


def _change(directory: Path, **changes: object) -> None:
    """Write the manifest again, with the files as they are now."""
    path = directory / MANIFEST
    files = {file.name: sha256_of(file) for file in sorted(directory.iterdir()) if file != path}
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"files": files} | changes))
