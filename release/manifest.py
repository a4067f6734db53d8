"""The manifest of a release: what `training` exports and `scoring` loads."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from userip.release.errors import ReleaseError

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
SCORER = "scorer.onnx"
ITEMS = "items.npz"
ITEM_FIELDS = "item_fields.npy"  # beside a plain graph (`release.field_rows`)
PROFILES = "profiles.parquet"  # user_id str, row uint32, uint16 per slot in the order of slots; 65535 = unknown
VECTORS = "vectors.npy"
FOLD_INS = "fold-in.parquet"  # beside the directory: histories of users folded in since, kept for the next release
# Not read by service or `publish`: what people and later steps may want to see.
CODEBOOKS = "codebooks.safetensors"
CONFIG = "config.toml"
METRICS = "metrics.json"
RELEASE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

# A name, not a path: no separators, no "..", nothing hidden.
FileName = Annotated[str, Field(pattern=RELEASE_NAME)]
MAX_MANIFEST_BYTES: Final = 32 << 20  # an export has some hundred KB

Source = Literal["user_row", "item_row", "item", "code", "user", "context"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldSpec(_Frozen):
    """One field of the recommender, in the order of its embedding tables.

    `size` counts the reserved row 0 = unknown, so category or code k has row k + 1.

    source    where the service finds the row
    user_row  `Record.row`                            item_row  the position in `items.npz`, plus one
    item      a column of the catalogue: folded into the item rows, nothing to find online
    code      `Record.codes[slot]`, a facet's code     user      `Record.codes[slot]`, a category of the user
    context   the request's `context[name]`, one of `values`
    """

    name: str
    source: Source
    size: Annotated[int, Field(ge=1)]
    slot: int | None = None
    values: tuple[str, ...] | None = None


class ItemLift(_Frozen):
    """An item that users with a code like more often than others do."""

    item_id: str
    title: str
    lift: float


class CodeDescription(_Frozen):
    """What one code stands for: the words and items it over-represents, and its share of users."""

    description: tuple[str, ...]
    items: tuple[ItemLift, ...]
    share: float


class Facet(_Frozen):
    """A facet of the profile and its codebook; `codes[k]` describes code k."""

    name: str
    slot: int
    codebook_size: Annotated[int, Field(ge=1, le=65535)]
    codes: tuple[CodeDescription, ...]


class Manifest(_Frozen):
    """The content of `manifest.json`.

    graph   folded: takes the parts of requests, over one short row per id. plain: takes `rows`, a row of every field
            for each candidate. A manifest without it is of a folded graph
    vector  how many floats a record carries beside its codes; 0 for profiles of codes
    tables  input of the graph -> the .npy file, float32 [rows, width], that is given to it with every run
    files   the sha256 of every other file of the release
    """

    format: Literal[2]
    release: Annotated[str, Field(pattern=RELEASE_NAME)]
    created: str
    dataset: dict[str, Any]
    method: dict[str, Any]
    fields: tuple[FieldSpec, ...]
    facets: tuple[Facet, ...]
    users: int
    items: int
    graph: Literal["folded", "plain"] = "folded"
    vector: Annotated[int, Field(ge=0, le=65535)] = 0
    tables: dict[str, FileName] = {}
    metrics: dict[str, Any]
    files: dict[FileName, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]

    @model_serializer(mode="wrap")
    def _without_default(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave `graph` out where it is folded: such a manifest is the same, byte by byte, as before there were two."""
        content: dict[str, Any] = write(self)
        if self.graph == "folded":
            content.pop("graph", None)
        return content

    @property
    def slots(self) -> int:
        """How many uint16 codes a record of this release holds: facets first, then user fields."""
        return sum(field.source in ("code", "user") for field in self.fields)

    @property
    def slot_fields(self) -> tuple[FieldSpec, ...]:
        """The fields with a slot, in the order of slots: the columns of profiles.parquet behind user_id and row."""
        slotted = (field for field in self.fields if field.slot is not None)
        return tuple(sorted(slotted, key=lambda field: field.slot or 0))

    @property
    def contexts(self) -> tuple[FieldSpec, ...]:
        """The fields that a request may give, in the order of the graph's `context` columns."""
        return tuple(field for field in self.fields if field.source == "context")


def sha256_of(path: Path) -> str:
    """Hash a file in pieces, so that its size does not matter."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_manifest(directory: Path, *, verify: Literal["all", "rest", "nothing"] = "all") -> Manifest:
    """Read `directory/manifest.json` and look at every file that it names.

    verify  all: hash them; rest: but for scorer, items and tables, which are hashed as they are loaded; nothing: read
            the manifest alone

    Raises ReleaseError, naming the file, for a missing, unreadable, additional or altered file, and for another format.
    """
    try:
        return _read_manifest(directory, verify=verify)
    except NotADirectoryError:
        raise ReleaseError(f"{directory}: not a directory; give the one that holds {MANIFEST} (RUN/release)") from None
    except OSError as error:
        named = error.filename or directory
        raise ReleaseError(f"{named}: {error.strerror}; fix that, or copy the release again") from None


def _read_manifest(directory: Path, *, verify: str) -> Manifest:
    path = directory / MANIFEST
    try:
        if path.is_symlink():
            raise ReleaseError(_linked(path))
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ReleaseError(f"{path}: larger than {MAX_MANIFEST_BYTES >> 20} MB; export the release again")
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ReleaseError(f"{path}: not found; is {directory} a release directory (RUN/release)?") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReleaseError(f"{path}: not JSON ({error})") from None
    if isinstance(raw, dict) and raw.get("format") != FORMAT_VERSION:
        raise ReleaseError(
            f"{path}: format {raw.get('format')!r}, this version reads {FORMAT_VERSION}; export the release again"
        )
    try:
        manifest = Manifest.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise ReleaseError(f"{path}: {where}: {first['msg']}") from None
    if verify != "nothing":
        loaded = () if verify == "all" else (SCORER, ITEMS, *manifest.tables.values())
        _verify_files(directory, manifest, loaded)
    return manifest


def _verify_files(directory: Path, manifest: Manifest, loaded: tuple[str, ...]) -> None:
    for needed in (SCORER, ITEMS):
        if needed not in manifest.files:
            raise ReleaseError(f"{directory / MANIFEST}: files: no hash for {needed}")
    present = {path.name for path in directory.iterdir()} - {MANIFEST}
    for name in sorted(present - set(manifest.files)):
        raise ReleaseError(f"{directory / name}: not named in {MANIFEST}; remove it or export the release again")
    for name, expected in sorted(manifest.files.items()):
        path = directory / name
        if path.is_symlink():
            raise ReleaseError(_linked(path))
        if name not in present or not path.is_file():
            raise ReleaseError(f"{path}: named in {MANIFEST} but missing; export the release again")
        if name not in loaded and sha256_of(path) != expected:
            raise ReleaseError(f"{path}: sha256 differs from {MANIFEST}; the file was altered or cut short")


def _linked(path: Path) -> str:
    return f"{path}: a symbolic link; a release's files lie in it (the directory itself may be linked to)"
