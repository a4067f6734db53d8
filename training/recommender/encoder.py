"""From columns to rows of embedding tables. Built from the train rows alone; row 0 of every field is unknown.

The order of the fields is the order of the manifest's `fields`:
user_id (unless `user_field` is off), item_id, item fields, codes by facet name, user fields by name, context
fields.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from userip.bank.record import UNKNOWN_CODE
from userip.release.manifest import Source
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError, DataError, SplitMismatchError

FILE: Final = "encoder.json"
MAX_CODES: Final = UNKNOWN_CODE  # which marks an unknown code in a record, so codes go from 0 to 65534

Rows = NDArray[np.int64]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EncodedField(_Frozen):
    """One field: the values seen in training (value k has row k + 1), or the size of a codebook."""

    name: str
    source: Source
    values: tuple[str, ...] | None = None
    codes: Annotated[int, Field(ge=1, le=MAX_CODES)] | None = None

    @property
    def size(self) -> int:
        """Rows of the table, the unknown row 0 included."""
        return 1 + (len(self.values) if self.values is not None else self.codes or 0)


class FieldEncoder(_Frozen):
    """The fields of a recommender. Written as `encoder.json`."""

    split_hash: str
    fields: tuple[EncodedField, ...]

    @classmethod
    def fit(
        cls, dataset: Dataset, code_sizes: Mapping[str, int], *, user_field: bool, started: Sequence[str] = ()
    ) -> "FieldEncoder":
        """Collect the values of the train rows. `code_sizes` maps facets to codebook sizes (empty: no codes).

        `started` are items that have a row without a train row: a recommender knows where to start them.
        Raises ConfigError for two fields of one name, or a user field with more values than a record holds.
        """
        train = with_item_fields(dataset.rows("train"), dataset)
        by_role = {
            role: [field.name for field in dataset.info.fields if field.role == role]
            for role in ("user", "item", "context")
        }
        fields = [EncodedField(name="user_id", source="user_row", values=_values(train, "user_id"))]
        if not user_field:
            fields.clear()
        fields.append(EncodedField(name="item_id", source="item_row", values=_values(train, "item_id", started)))
        fields += [_categories(train, name, "item") for name in by_role["item"]]
        fields += [EncodedField(name=name, source="code", codes=code_sizes[name]) for name in sorted(code_sizes)]
        fields += [_categories(train, name, "user") for name in sorted(by_role["user"])]
        fields += [_categories(train, name, "context") for name in by_role["context"]]
        _refuse(fields)
        return cls(split_hash=dataset.split_hash, fields=tuple(fields))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows per field: what a DCN is built with."""
        return tuple(field.size for field in self.fields)

    def positions(self, *sources: Source) -> tuple[int, ...]:
        """Where the fields of these sources stand, in field order."""
        return tuple(i for i, field in enumerate(self.fields) if field.source in sources)

    def encode(self, frame: pl.DataFrame, codes: Rows | None = None) -> Rows:
        """Rows int64 [n, F] of a frame that has a column per field; values unseen in training give row 0.

        codes  int64 [n, K], the rows of the code fields in field order (see `CodeTable.rows_of`).
        """
        encoded = np.zeros((frame.height, len(self.fields)), dtype=np.int64)
        places = self.positions("code")
        if places:
            if codes is None or codes.shape != (frame.height, len(places)):
                raise ValueError(f"the recommender has {len(places)} code fields, got {codes!r}")
            encoded[:, places] = codes
        for place, field in enumerate(self.fields):
            if field.values is not None:
                encoded[:, place] = rows_of_values(frame[field.name], field.values)
        return encoded

    def write(self, directory: Path) -> None:
        """Write `directory/encoder.json`."""
        text = json.dumps(self.model_dump(exclude_none=True), ensure_ascii=False, indent=1)
        (directory / FILE).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, directory: Path, split_hash: str) -> "FieldEncoder":
        """Read `directory/encoder.json`. Raises DataError, or SplitMismatchError for another split's."""
        file = directory / FILE
        try:
            encoder = cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            raise DataError(f"{file}: not found; run `userip fit` first") from None
        except ValidationError as error:
            raise DataError(f"{file}: {error.errors()[0]['msg']}; run `userip fit` again") from None
        if encoder.split_hash != split_hash:
            raise SplitMismatchError(f"{file}: was made from another split of the data; run `userip fit` again")
        return encoder


def with_item_fields(rows: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    """Add the item-role columns of the catalogue to interaction rows, keeping their order."""
    names = [field.name for field in dataset.info.fields if field.role == "item"]
    if not names:
        return rows
    return rows.join(dataset.items.select("item_id", *names), on="item_id", how="left", maintain_order="left")


def rows_of_values(column: pl.Series, values: Sequence[str]) -> Rows:
    """Rows int64 [n]: the place of each value plus one, 0 for a value that is null or not among `values`."""
    if not values:
        return np.zeros(len(column), dtype=np.int64)
    places = column.cast(pl.String).cast(pl.Enum(values), strict=False).to_physical().cast(pl.Int64)
    rows: Rows = (places + 1).fill_null(0).to_numpy()
    return rows


def _values(frame: pl.DataFrame, name: str, more: Sequence[str] = ()) -> tuple[str, ...]:
    column = pl.concat([frame[name].cast(pl.String), pl.Series(more, dtype=pl.String)])
    return tuple(column.drop_nulls().unique().sort())


def _categories(frame: pl.DataFrame, name: str, source: Source) -> EncodedField:
    if name not in frame.columns:
        raise DataError(f"dataset.json: fields: there is no column for the {source} field {name!r}")
    return EncodedField(name=name, source=source, values=_values(frame, name))


def _refuse(fields: Sequence[EncodedField]) -> None:
    names = [field.name for field in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"fields: {', '.join(twice)}: two fields have this name; rename the column or facet")
    for field in fields:
        if field.source == "user" and field.size > MAX_CODES:
            raise ConfigError(f"fields: {field.name}: {field.size - 1} values; a user field has at most 65534")
