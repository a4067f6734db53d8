"""Any Parquet or CSV table, with columns named by the caller."""

from pathlib import Path
from typing import Annotated, Final, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from userip.training.data.dataset import INTERACTION_COLUMNS, FieldInfo
from userip.training.data.raw import LINE, RawData, RowReport, keep_good, missing, number, unusable
from userip.training.data.readers.columns import is_text, read_table, seconds, truth
from userip.training.data.text_files import need_columns
from userip.training.errors import ConfigError, DataError

RESERVED: Final = {*INTERACTION_COLUMNS, "title", LINE}
SUFFIXES: Final = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz")
FIX: Final = "; name the right one with --user-column, --item-column, --rating-column, --time-column, ..."

Role = Literal["user", "item", "context"]


class TableColumns(BaseModel):
    """Which columns of a table hold what. Columns that nobody names are left out.

    `items` is the catalogue's file, with the id in `items_key` (by default `item_column`); without it, title
    and item fields are taken from the interactions. `users` is likewise a file of users with the user fields.
    `attributes` None: the item fields, then every other text column of the catalogue.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_column: str = "user_id"
    item_column: str = "item_id"
    rating_column: str | None = None
    label_column: str | None = None
    time_column: str | None = None
    title_column: str | None = None
    items: Path | None = None
    items_key: str | None = None
    users: Path | None = None
    user_fields: tuple[str, ...] = ()
    item_fields: tuple[str, ...] = ()
    context_fields: tuple[str, ...] = ()
    attributes: tuple[str, ...] | None = None
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None = None

    @property
    def roles(self) -> tuple[tuple[Role, tuple[str, ...]], ...]:
        """The field names by role."""
        return ("user", self.user_fields), ("item", self.item_fields), ("context", self.context_fields)


def read_any_table(source: Path, report: RowReport, columns: TableColumns) -> RawData:
    """Read the interactions from `source`, a file or a directory with a single table in it.

    Raises DataError for a missing file or column, naming those that exist, ConfigError for names that clash.
    """
    _refuse_clashes(columns)
    path = _interactions_file(source, columns)
    table = read_table(path, report, columns.separator)
    need_columns(table, path, [columns.user_column, columns.item_column], FIX)
    rating, stated = _outcome(table, path, columns)
    here = columns.context_fields + (() if columns.users else columns.user_fields)
    need_columns(table, path, [name for name in (rating, stated, columns.time_column, *here) if name], FIX)
    table = keep_good(table, path, report, _problems(columns, rating, stated))
    interactions = table.select(
        user_id=pl.col(columns.user_column).str.strip_chars(),
        item_id=pl.col(columns.item_column).str.strip_chars(),
        rating=number(rating) if rating else pl.lit(None, dtype=pl.Float64),
        timestamp=seconds(columns.time_column) if columns.time_column else pl.lit(None, dtype=pl.Int64),
        **({"label": truth(stated)} if stated else {}),
        **{name: pl.col(name) for name in here},
    )
    if columns.users:
        users = _users(columns.users, report, columns)
        interactions = interactions.join(users, on="user_id", how="left", maintain_order="left")
    items, attributes = _catalogue(table, path, report, columns)
    return RawData(
        interactions=interactions,
        items=items,
        sources=tuple(file for file in (path, columns.items, columns.users) if file),
        positive_above=None,
        fields=tuple(FieldInfo(name=name, role=role) for role, names in columns.roles for name in names),
        attributes=attributes,
    )


def _refuse_clashes(columns: TableColumns) -> None:
    names = [name for _, group in columns.roles for name in group]
    for name in names:
        if name in RESERVED:
            raise ConfigError(f"field {name!r}: this name is reserved; rename the column")
        if names.count(name) > 1:
            raise ConfigError(f"field {name!r} is given twice; a field has one role")


def _interactions_file(source: Path, columns: TableColumns) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise DataError(f"{source}: not found; --source has to be the table or the directory that holds it")
    others = {file.resolve() for file in (columns.items, columns.users) if file}
    tables = sorted(p for p in source.iterdir() if p.name.endswith(SUFFIXES) and p.resolve() not in others)
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise DataError(f"{source}: no table in it ({', '.join(SUFFIXES)})")
    names = ", ".join(path.name for path in tables)
    raise DataError(f"{source}: several tables ({names}); name the interactions' file with --source")


def _outcome(table: pl.DataFrame, path: Path, columns: TableColumns) -> tuple[str | None, str | None]:
    """The names of the rating and the label column; one of them may be None."""
    if columns.rating_column or columns.label_column:
        return columns.rating_column, columns.label_column
    for guess in ("label", "rating"):
        if guess in table.columns:
            return (guess, None) if guess == "rating" else (None, guess)
    present = ", ".join(name for name in table.columns if name != LINE)
    raise DataError(f"{path}: give --rating-column or --label-column; the columns are: {present}")


def _problems(columns: TableColumns, rating: str | None, stated: str | None) -> list[pl.Expr]:
    problems = [missing(columns.user_column), missing(columns.item_column)]
    if stated:
        problems.append(unusable(stated, truth(stated), "true or false (or 1 or 0)"))
    if rating and not stated:
        problems.append(unusable(rating, number(rating), "a number"))
    if columns.time_column:
        told = pl.col(columns.time_column).fill_null("").str.strip_chars() != ""
        wrong = unusable(columns.time_column, seconds(columns.time_column), "a time")
        problems.append(pl.when(told).then(wrong))
    return problems


def _users(path: Path, report: RowReport, columns: TableColumns) -> pl.DataFrame:
    """One row per user: `user_id` and the user fields. Rows without a user are reported."""
    key = columns.user_column
    table = read_table(path, report, columns.separator)
    need_columns(table, path, [key, *columns.user_fields])
    table = keep_good(table, path, report, [missing(key)])
    known = table.select(pl.col(key).str.strip_chars().alias("user_id"), *columns.user_fields)
    return known.unique("user_id", keep="last")


def _catalogue(
    table: pl.DataFrame, path: Path, report: RowReport, columns: TableColumns
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The catalogue and the names of its attributes, from the items' file or else from `table`."""
    key = columns.item_column
    if columns.items:
        path, key = columns.items, columns.items_key or key
        table = read_table(path, report, columns.separator)
        need_columns(table, path, [key], "; name it with --items-key")
        table = keep_good(table, path, report, [missing(key)])
    title = columns.title_column or ("title" if "title" in table.columns else None)
    attributes = columns.attributes
    if attributes is None:
        words = table.columns if columns.items else []
        others = {key, title, LINE, *columns.item_fields}
        attributes = columns.item_fields + tuple(n for n in words if n not in others and is_text(table[n]))
    names = tuple(dict.fromkeys((*columns.item_fields, *attributes)))
    need_columns(table, path, [*names, *([title] if title else [])])
    if taken := RESERVED & {"item_id", "title"} & set(names):
        raise ConfigError(f"attribute {min(taken)!r}: this name is reserved; rename the column")
    items = table.select(
        item_id=pl.col(key).str.strip_chars(),
        title=pl.col(title) if title else pl.lit(None, dtype=pl.String),
        **{name: pl.col(name) for name in names},
    )
    if not columns.items:
        latest = pl.col("title", *names).drop_nulls().last()
        items = items.group_by("item_id", maintain_order=True).agg(latest)
    return items, attributes
