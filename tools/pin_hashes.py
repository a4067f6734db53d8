"""Write the SHA-256 of every published file beside each pin of the requirement files; put torch into a file of its own.

    python tools/pin_hashes.py requirements [--known FOLDER] [--index URL]

The digests are those that the index states for all files of a version (PEP 691), so that one pin holds for every
platform, and no file is fetched for it; `pip-compile --generate-hashes` downloads them where an index states digests
elsewhere than PyPI does, and would pin a file that only one machine has. A pin that has hashes in FOLDER keeps them:
they change with the version only, also where files are added to a version later.
"""

import argparse
import json
import os
import re
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

PYPI: Final = "https://pypi.org/simple"
APART: Final = "torch"
_PIN: Final = re.compile(r"([a-z0-9-]+)==([^\s+]+)(?:\+\w+)?(?: \\)?")
_HASH: Final = re.compile(r" {4}--hash=(sha256:[0-9a-f]{64})(?: \\)?")
_APART_HEADER: Final = """\
#
# This file is written by `make lock`. It pins torch by its version, without a hash: one version comes as different
# files (PyPI's, with CUDA; download.pytorch.org's, for the CPU or another CUDA), and which is installed is the
# machine's choice. pip wants hashes for all or for none, so torch is alone here, and is installed after the hashed
# files, which have what it needs; only the CUDA libraries that its build names come with it.
#
"""


class Pin(NamedTuple):
    """A name and its exact version, without the label of a build."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def read_hashes(text: str) -> dict[Pin, list[str]]:
    """The hashes of every pin of a requirement file; of an unhashed one, none."""
    found: dict[Pin, list[str]] = {}
    for line in text.splitlines():
        if pin := _PIN.fullmatch(line):
            hashes = found[Pin(*pin.groups())] = []
        elif digest := _HASH.fullmatch(line):
            hashes.append(digest.group(1))
    return found


def published(pin: Pin, index: str) -> list[str]:
    """The hashes of all wheels and source archives of a version, as the index states them; sorted."""
    headers = {"Accept": "application/vnd.pypi.simple.v1+json"}
    request = urllib.request.Request(f"{index}/{pin.name}/", headers=headers)  # noqa: S310  the caller's own index
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  the same
            files = json.load(answer)["files"]
    except (OSError, ValueError) as error:
        raise LookupError(f"{pin}: {index} did not answer: {error}") from error
    wanted = Version(pin.version)
    hashes = {f"sha256:{file['hashes']['sha256']}" for file in files if _version(file["filename"]) == wanted}
    if not hashes:
        raise LookupError(f"{pin}: {index} lists no file of this version")
    return sorted(hashes)


def _version(filename: str) -> Version | None:
    """The version in the name of a wheel or source archive, None for what pip would not install."""
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)[1]
        return parse_sdist_filename(filename)[1]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def with_hashes(text: str, hashes: Mapping[Pin, Iterable[str]]) -> tuple[str, list[str]]:
    """(the requirement file with its hashes and without torch, the lines about torch)."""
    lines: list[str] = []
    apart: list[str] = []
    target = lines
    for line in text.splitlines():
        if pin := _PIN.fullmatch(line):
            key = Pin(*pin.groups())
            target = apart if key.name == APART else lines
            target.append(" \\\n    --hash=".join([str(key), *hashes.get(key, ())]))
        elif not line.startswith("    "):
            target = lines
            lines.append(line)
        elif not _HASH.fullmatch(line):
            target.append(line)
    return "\n".join(lines) + "\n", apart


def apart_file(lines: Iterable[str]) -> str:
    """The file of torch, from what the files of the layers said about it."""
    pins = {line for line in lines if not line.startswith("    ")}
    asking = {re.sub(r"^ +#( via)? *", "", line) for line in lines if line.startswith("    ")}
    named = sorted(name for name in asking if name and not name.startswith("-c "))
    return _APART_HEADER + "\n".join([*sorted(pins), "    # via", *(f"    #   {name}" for name in named)]) + "\n"


def main(arguments: list[str]) -> None:
    """Rewrite the files of the folder, each whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--known", type=Path, help="a folder of requirement files whose hashes are kept")
    parser.add_argument("--index", default=PYPI, help="the simple index that is asked")
    options = parser.parse_args(arguments)

    hashes: dict[Pin, list[str]] = {}
    for file in sorted(options.known.glob("*.txt")) if options.known else ():
        hashes |= {pin: found for pin, found in read_hashes(file.read_text(encoding="utf-8")).items() if found}
    files = [file for file in sorted(options.folder.glob("*.txt")) if file.stem != APART]
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    pins = {pin for text in texts.values() for pin in read_hashes(text) if pin.name != APART}
    missing = sorted(pins - set(hashes))
    try:
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(lambda pin: published(pin, options.index), missing)
            hashes |= dict(zip(missing, found, strict=True))
    except LookupError as error:
        sys.exit(f"pin_hashes: {error}")

    apart: list[str] = []
    for file, text in texts.items():
        hashed, lines = with_hashes(text, hashes)
        apart += lines
        _write(file, hashed)
    if apart:
        _write(options.folder / f"{APART}.txt", apart_file(apart))
    print(f"pin_hashes: {len(pins)} pins have hashes; {len(missing)} were asked for at {options.index}")


def _write(file: Path, text: str) -> None:
    beside = file.with_name(f"{file.name}.writing")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, file)


if __name__ == "__main__":
    main(sys.argv[1:])
