"""Text files as tables of strings: delimited lines and CSV, plain or gzipped.

Every table carries the line that each row came from, so that a bad row can be named. A byte order mark, CRLF
line ends and blank lines are not rows and not errors.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from userip.training.data.raw import LINE, RowReport
from userip.training.errors import DataError


def find(directory: Path, *patterns: str) -> Path | None:
    """The one file in `directory` that fits the first fitting pattern, plain or with `.gz`; None without one.

    Raises DataError where a pattern fits several files.
    """
    if not directory.is_dir():
        raise DataError(f"{directory}: not a directory; --source has to be the folder that holds the files")
    for pattern in patterns:
        found = sorted({*directory.glob(pattern), *directory.glob(pattern + ".gz")})
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise DataError(f"{directory}: several files match {pattern}: {names}; keep one of them")
        if found:
            return found[0]
    return None


def need(directory: Path, *patterns: str) -> Path:
    """Like `find`; raises DataError, saying what the directory holds, where there is no such file."""
    path = find(directory, *patterns)
    if path is None:
        names = sorted(entry.name for entry in directory.iterdir())
        held = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise DataError(f"{directory}: no {' or '.join(patterns)} (nor .gz); it holds: {held or 'nothing'}")
    return path


def read_bytes(path: Path) -> bytes:
    """The file's content, unpacked if its name ends in `.gz`. Raises DataError if it cannot be read."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: not found") from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: damaged or incomplete gzip file ({error}); download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_text(path: Path, report: RowReport, *, latin1: bool = False) -> str:
    r"""Decode the file as UTF-8 with `\n` as the only line end.

    If it is not UTF-8, it is read as Latin-1 where the format allows this, else the lines that are not UTF-8
    are reported as bad rows and left blank.
    """
    raw = read_bytes(path).removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    if b"\0" in raw[:4096]:
        raise DataError(f"{path}: not a text file in UTF-8 (it holds zero bytes); convert it from UTF-16, or unpack it")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        if latin1:
            return raw.decode("latin-1")
    lines, problems = [], []
    for number, line in enumerate(raw.split(b"\n"), start=1):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError as error:
            lines.append("")
            problems.append((number, f"not UTF-8 at byte {error.start + 1} of the line"))
    report.leave_out(path, problems)
    report.saw(path, len(problems))
    return "\n".join(lines)


def read_delimited(
    path: Path, separator: str, columns: Sequence[str], report: RowReport, *, latin1: bool = False
) -> pl.DataFrame:
    """Lines of exactly `len(columns)` cells between `separator`, without quoting: str columns and `LINE`."""
    lines = pl.Series(LINE, read_text(path, report, latin1=latin1).split("\n"), dtype=pl.String)
    table = pl.DataFrame({"text": lines}).with_row_index(LINE, offset=1)
    table = table.filter(pl.col("text").str.strip_chars() != "")
    report.saw(path, table.height)
    found = pl.col("text").str.count_matches(separator, literal=True) + 1
    ragged = table.with_columns(found=found).filter(pl.col("found") != len(columns))
    report.leave_out(
        path,
        ((line, f"{cells} cells, not {len(columns)}") for line, cells in ragged[LINE, "found"].iter_rows()),
    )
    good = table.filter(found == len(columns))
    cells = good.select(LINE, pl.col("text").str.split_exact(separator, len(columns) - 1).alias("cells"))
    return cells.unnest("cells").rename({f"field_{position}": column for position, column in enumerate(columns)})


def read_csv(path: Path, report: RowReport, *, separator: str = ",") -> pl.DataFrame:
    """A CSV file with a header: every column as str (an empty cell is null), and `LINE`.

    A row with too many cells is reported as bad; in one with too few the rest is null. The fast reader takes
    regular files; surplus cells, stray quotes and blank lines need the slow one, which knows every line.
    """
    text = read_text(path, report)
    if not text.strip():
        raise DataError(f"{path}: empty file; it needs a header line and rows")
    _refuse_odd_header(path, text, separator)
    table = None
    if "\n\n" not in text and not text.startswith("\n"):
        table = _read_regular(text, separator)
    if table is None:
        table = _read_ragged(path, text, report, separator)
    else:
        report.saw(path, table.height)
    return table.rename({name: name.strip() for name in table.columns})


def need_columns(table: pl.DataFrame, path: Path, columns: Sequence[str], fix: str = "") -> None:
    """Raise DataError, naming the columns that exist, if one of `columns` does not."""
    absent = [column for column in columns if column not in table.columns]
    if absent:
        present = ", ".join(column for column in table.columns if column != LINE)
        raise DataError(f"{path}: no column {', '.join(map(repr, absent))}; it has: {present}{fix}")


def _refuse_odd_header(path: Path, text: str, separator: str) -> None:
    first = text.lstrip("\n").split("\n", 1)[0]
    names = [name.strip() for name in next(csv.reader([first], delimiter=separator))]
    if len(set(names)) < len(names) or "" in names:
        raise DataError(f"{path}: column names in the header are empty or duplicate: {', '.join(names)}")


def _read_regular(text: str, separator: str) -> pl.DataFrame | None:
    """Read with polars; None where the file is not regular enough to trust the result."""
    try:
        table = pl.read_csv(text.encode(), separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError:
        return None
    lines = text.removesuffix("\n").count("\n")
    if table.height == lines:
        return table.with_row_index(LINE, offset=2)
    # Cells that span lines: a row begins after all line ends of the rows before it.
    spans = table.select(pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True).fill_null(0)))
    inside = spans.to_series().to_numpy().astype(np.int64)
    if table.height + inside.sum() != lines:
        return None
    first = 2 + np.arange(table.height) + np.concatenate([[0], np.cumsum(inside)[:-1]])
    return table.insert_column(0, pl.Series(LINE, first, dtype=pl.UInt32))


def _read_ragged(path: Path, text: str, report: RowReport, separator: str) -> pl.DataFrame:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: list[str] = []
    kept: list[list[str | None]] = []
    lines: list[int] = []
    last = 0
    try:
        for row in reader:
            begin, last = last + 1, reader.line_num
            if not row:
                continue
            if not header:
                header = row
                continue
            spanned = last - begin + 1
            if len(row) > len(header) or (len(row) < len(header) and spanned > 1):
                # An unclosed quote swallows lines: all of them count.
                report.saw(path, spanned)
                report.leave_out(path, [(begin, f"{len(row)} cells, not {len(header)}")], rows=spanned)
                continue
            report.saw(path, 1)
            lines.append(begin)
            kept.append([cell or None for cell in row] + [None] * (len(header) - len(row)))
    except csv.Error as error:
        raise DataError(f"{path}:{last + 1}: not CSV ({error}); is a quote not closed?") from None
    begun = text.split("\n")[lines[-1] - 1 :] if lines else []
    if "\n".join(begun).count('"') % 2:
        # The last row opened a quote that nothing closes: whatever followed is inside its last cell.
        spanned = last - lines.pop() + 1
        kept.pop()
        report.saw(path, spanned - 1)
        report.leave_out(path, [(last - spanned + 1, "quote not closed")], rows=spanned)
    table = pl.DataFrame(kept, schema=dict.fromkeys(header, pl.String), orient="row")
    return table.insert_column(0, pl.Series(LINE, lines, dtype=pl.UInt32))
