"""The data set directory: what `prepare` and `simulate` write and every later step reads.

dataset.json          DatasetInfo
interactions.parquet  user_id str, item_id str, label bool, rating f32 null,
                      timestamp i64 null (unix seconds), split str, then user and context fields as str
items.parquet         item_id str, title str (never null), then attributes and item fields as str;
                      several values in one cell are joined by "|"
planted.parquet       only from `simulate`: the truth, for tests; nothing in training reads it
"""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from userip.release.manifest import sha256_of
from userip.training.errors import DataError, TestSplitError

FORMAT_VERSION: Final = 1
INFO: Final = "dataset.json"
INTERACTIONS: Final = "interactions.parquet"
ITEMS: Final = "items.parquet"
PLANTED: Final = "planted.parquet"
SEPARATOR: Final = "|"  # between several values in one cell of the catalogue

Split = Literal["random", "temporal", "users", "items", "users-items"]
NEW_USERS: Final = ("users", "users-items")  # splits with users whom nothing is trained on
NEW_ITEMS: Final = ("items", "users-items")
PARTS: Final = ("train", "valid", "history", "test")

INTERACTION_COLUMNS: Final = {
    "user_id": pl.String(),
    "item_id": pl.String(),
    "label": pl.Boolean(),
    "rating": pl.Float32(),
    "timestamp": pl.Int64(),
    "split": pl.String(),
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldInfo(_Frozen):
    """A categorical column that the recommender may use beside user and item.

    A `user` field is a column of the interactions that is constant per user, a `context` field one that may
    differ from row to row, and an `item` field is a single-valued column of the items.
    """

    name: str
    role: Literal["user", "item", "context"]


class DatasetInfo(_Frozen):
    """The content of `dataset.json`.

    `sources` holds the sha256 of every file that was read, `files` of the two Parquet files. `counts` holds
    users, items, interactions, positives and the size of each part, then what reading and cleaning dropped.
    `attributes` are the columns of the items that describe them in words, the most telling first.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    format_version: Literal[1]
    sources: dict[str, str]
    files: dict[str, str]
    positive_above: float | None
    min_interactions: Annotated[int, Field(ge=1)]
    split: Split
    seed: int
    counts: dict[str, int]
    fields: tuple[FieldInfo, ...] = ()
    attributes: tuple[str, ...] = ()
    split_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Dataset:
    """An opened data set directory. Its test rows are out of reach except through `final_eval`."""

    def __init__(self, path: Path, info: DatasetInfo) -> None:
        self.path = path
        self.info = info
        self.test_reads = 0

    @classmethod
    def open(cls, path: Path) -> "Dataset":
        """Read `path/dataset.json` and check that both tables are there, unaltered.

        Raises DataError, naming the file, for anything missing, altered or of another format.
        """
        info = _read_info(path)
        for name in (INTERACTIONS, ITEMS):
            if not (path / name).is_file():
                raise DataError(f"{path / name}: not found; run `userip prepare` (or `simulate`) again")
            if sha256_of(path / name) != info.files.get(name):
                raise DataError(f"{path / name}: differs from the hash in {INFO}; run `userip prepare` again")
        return cls(path, info)

    @property
    def name(self) -> str:
        """The data set's name, as it enters release names."""
        return self.info.name

    @property
    def split_hash(self) -> str:
        """What every later artifact records, so that two splits, or two catalogues, are never mixed."""
        return self.info.split_hash

    @cached_property
    def items(self) -> pl.DataFrame:
        """The catalogue, sorted by item_id: `item_id`, `title`, then further str columns."""
        return pl.read_parquet(self.path / ITEMS).sort("item_id")

    @cached_property
    def _interactions(self) -> pl.DataFrame:
        return pl.read_parquet(self.path / INTERACTIONS).sort("user_id", "timestamp", "item_id")

    def rows(self, *splits: str) -> pl.DataFrame:
        """The rows of the named parts, by default `train`, sorted by (user_id, timestamp, item_id).

        Raises TestSplitError for "test" and ValueError for a name that is no part.
        """
        named = splits or ("train",)
        if "test" in named:
            raise TestSplitError("test rows are read once, by Dataset.final_eval(), not by rows()")
        if unknown := sorted(set(named) - set(PARTS)):
            raise ValueError(f"unknown part of the data:  {', '.join(unknown)}; parts are {', '.join(PARTS)}")
        return self._interactions.filter(pl.col("split").is_in(list(named)))

    def test_pairs(self) -> pl.DataFrame:
        """The test rows without what they are judged by (label, rating): enough to predict them, not to peek."""
        return self._interactions.filter(pl.col("split") == "test").drop("label", "rating", strict=False)

    def final_eval(self) -> pl.DataFrame:
        """The test rows, sorted as in `rows`. Each call adds one to `test_reads`."""
        self.test_reads += 1
        return self._interactions.filter(pl.col("split") == "test")


def split_hash_of(
    interactions: pl.DataFrame,
    rule: Split,
    seed: int,
    items: pl.DataFrame | None = None,
    fields: tuple[FieldInfo, ...] = (),
    attributes: tuple[str, ...] = (),
) -> str:
    """sha256 over rule, seed, all columns of the interactions and of the catalogue, and what the columns are for.

    The order of rows and columns does not matter. Values are written with their length in front: no choice of ids
    makes two different tables look the same.
    """
    uses = {"fields": [field.model_dump() for field in fields], "attributes": attributes}
    digest = hashlib.sha256(f"{FORMAT_VERSION} {rule} {seed} {json.dumps(uses)}\n".encode())
    for table, keys in ((interactions, ("user_id", "item_id")), (items, ("item_id",))):
        if table is not None:
            _feed(digest.update, table.select(sorted(table.columns)).sort(keys))
    return digest.hexdigest()


def _feed(update: Callable[[bytes], None], table: pl.DataFrame) -> None:
    """Write the columns' names, then row by row what is in them, absent or with its length in front."""
    update(f"{json.dumps(table.columns)}\n".encode())
    texts = [pl.col(name).cast(pl.String) for name in table.columns]
    cells = [
        pl.when(text.is_null()).then(pl.lit("-")).otherwise(pl.concat_str(text.str.len_bytes(), pl.lit(":"), text))
        for text in texts
    ]
    for piece in table.iter_slices(1 << 18):
        lines = piece.select(line=pl.concat_str(*cells, pl.lit("\n")))
        update("".join(lines["line"].to_list()).encode())


def _read_info(path: Path) -> DatasetInfo:
    file = path / INFO
    try:
        raw = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{file}: not found; is {path} a data set directory, as `userip prepare` writes it?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not JSON ({error}); run `userip prepare` again") from None
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(f"{file}: format_version is {version!r}, not {FORMAT_VERSION}; run `userip prepare` again")
    try:
        return DatasetInfo.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise DataError(f"{file}: {where}: {first['msg']}; run `userip prepare` again") from None
