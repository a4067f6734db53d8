"""Finding a release's directory by the release's name.

A name is only ever compared with what manifests say, never made into a path: who may ask for a release by name can
reach nothing but release directories that an operator put there.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from userip.release.errors import AbsentReleaseError
from userip.release.manifest import MANIFEST


class _Named(msgspec.Struct):
    release: str


def find_release(name: str, release_dir: Path, releases_dir: Path | None) -> Path:
    """`release_dir` if it holds the release, else the first directory in `releases_dir` that does.

    Nothing is verified yet but the name. Raises AbsentReleaseError.
    """
    for directory in _candidates(release_dir, releases_dir):
        if _name_of(directory) == name:
            return directory
    if releases_dir is None:
        raise AbsentReleaseError(f"no directory of release {name}: release_dir holds another; set releases_dir too")
    raise AbsentReleaseError(
        f"no directory of release {name} is in release_dir or releases_dir: move it in atomically (mv)"
    )


def _candidates(release_dir: Path, releases_dir: Path | None) -> Iterator[Path]:
    yield release_dir
    if releases_dir is not None and releases_dir.is_dir():
        yield from sorted(path for path in releases_dir.iterdir() if path.is_dir())


def _name_of(directory: Path) -> str | None:
    try:
        return msgspec.json.decode((directory / MANIFEST).read_bytes(), type=_Named).release
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None  # no release, or none that could be loaded
