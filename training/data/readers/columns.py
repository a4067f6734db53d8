"""Tables of any make as tables of strings, and strings as times and truths."""

from pathlib import Path
from typing import Final

import polars as pl

from userip.training.data.raw import LINE, RowReport, number
from userip.training.data.text_files import read_csv
from userip.training.errors import DataError

TRUE: Final = ("true", "t", "yes", "y", "1", "1.0")
FALSE: Final = ("false", "f", "no", "n", "0", "0.0", "-1", "-1.0")
DATE_TIMES: Final = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M")


def read_table(path: Path, report: RowReport, separator: str | None = None) -> pl.DataFrame:
    """Every column of a Parquet or CSV file as str, and `LINE` (the row's number for Parquet).

    Whole numbers lose their ".0", NaN becomes null, dates become unix seconds, lists are joined by "|".
    Columns of other kinds (structs, bytes) are left out.
    """
    if path.suffix != ".parquet":
        tabs = path.name.removesuffix(".gz").endswith(".tsv")
        return read_csv(path, report, separator=separator or ("\t" if tabs else ","))
    try:
        table = pl.read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"{path}: not found") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: not a Parquet file ({error})") from None
    report.saw(path, table.height)
    texts = [text for name in table.columns if (text := _text(pl.col(name), table[name].dtype)) is not None]
    return table.select(texts).with_row_index(LINE, offset=1)


def seconds(column: str) -> pl.Expr:
    """Unix seconds from a str column of ISO dates or numbers (seconds to nanoseconds, told by size)."""
    value = number(column)
    size = value.abs()
    scaled = (
        pl.when(size < 1e11)
        .then(value)
        .when(size < 1e14)
        .then(value / 1e3)
        .when(size < 1e17)
        .then(value / 1e6)
        .otherwise(value / 1e9)
    )
    text = pl.col(column).str.strip_chars().str.replace("T", " ", literal=True).str.replace("Z$", "+00:00")
    moments = [text.str.to_datetime(form, strict=False, time_unit="us").dt.epoch("s") for form in DATE_TIMES]
    day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).dt.epoch("s")
    return pl.coalesce(scaled.floor().cast(pl.Int64), *moments, day)


def truth(column: str) -> pl.Expr:
    """A bool from a str column that says true/false, yes/no, 1/0; null for anything else."""
    word = pl.col(column).str.strip_chars().str.to_lowercase()
    return pl.when(word.is_in(TRUE)).then(True).when(word.is_in(FALSE)).then(False)


def is_text(column: pl.Series) -> bool:
    """Whether a str column holds words rather than numbers."""
    values = column.drop_nulls()
    numbers = values.str.strip_chars().cast(pl.Float64, strict=False).count()
    return bool(values.len()) and numbers < values.len() / 2


def _text(column: pl.Expr, kind: pl.DataType) -> pl.Expr | None:
    if kind.is_float():
        whole = (column == column.floor()) & (column.abs() < 2**53)
        text = (
            pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))
        )
        return pl.when(column.is_finite()).then(text)
    if isinstance(kind, pl.Date | pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.epoch("s").cast(pl.String)
    if isinstance(kind, pl.List | pl.Array):
        joined = column.cast(pl.List(pl.String), strict=False) if kind.inner.is_numeric() else column
        plain = kind.inner.is_numeric() or isinstance(kind.inner, pl.String | pl.Categorical | pl.Enum)
        return joined.cast(pl.List(pl.String)).list.join("|") if plain else None
    if isinstance(kind, pl.Struct | pl.Binary | pl.Object | pl.Time | pl.Duration):
        return None
    return column.cast(pl.String)
