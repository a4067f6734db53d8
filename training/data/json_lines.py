"""Files with one object per line, as JSON or as a Python literal, read into a table."""

import ast
import gzip
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import polars as pl

from userip.training.data.raw import LINE, SHOWN, RowReport
from userip.training.errors import DataError
from userip.training.progress import track

S = TypeVar("S", bound=msgspec.Struct)
NOT_A_LITERAL: Final = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
CHUNK: Final = 1 << 18  # rows that are held as Python objects before they become a table


def read_json_lines(
    path: Path,
    kind: type[S],
    columns: Mapping[str, tuple[pl.DataType, Callable[[S], object]]],
    report: RowReport,
    *,
    only: tuple[re.Pattern[str], Set[str]] | None = None,
) -> pl.DataFrame:
    """One row per line that holds an object of `kind`: `LINE`, then `columns`, name -> (dtype, value).

    The other lines are reported as bad. Keys that `kind` does not name are skipped. The Amazon metadata are
    Python literals, not JSON (single quotes, `None`); they are evaluated as literals, never as code. With
    `only` = (pattern, ids), a line whose first match of the pattern names an id not among `ids` is passed
    over: evaluating literals is slow.
    """
    schema = {LINE: pl.Int64(), **{name: dtype for name, (dtype, _) in columns.items()}}
    values = [value for _, value in columns.values()]
    tables, rows = [pl.DataFrame(schema=schema)], []
    for number, found in _objects(path, kind, report, only):
        rows.append((number, *(value(found) for value in values)))
        if len(rows) == CHUNK:
            tables.append(pl.DataFrame(rows, schema=schema, orient="row"))
            rows = []
    tables.append(pl.DataFrame(rows, schema=schema, orient="row"))
    return pl.concat(tables)


def _objects(
    path: Path, kind: type[S], report: RowReport, only: tuple[re.Pattern[str], Set[str]] | None
) -> Iterator[tuple[int, S]]:
    decoder = msgspec.json.Decoder(kind)
    seen = bad = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # a literal with "\d" in it is no concern of ours
        for number, line in enumerate(track(_lines(path), label=f"reading {path.name}"), start=1):
            if not line.strip():
                continue
            seen += 1
            if only and (match := only[0].search(line)) and match[1] not in only[1]:
                continue
            try:
                yield number, _parse(line, decoder, kind)
            except msgspec.MsgspecError as error:
                bad += 1
                report.leave_out(path, [(number, str(error))] if bad <= SHOWN else [], rows=1)
    report.saw(path, seen)


def _parse(line: str, decoder: msgspec.json.Decoder[S], kind: type[S]) -> S:
    try:
        return decoder.decode(line)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        try:
            literal = ast.literal_eval(line.strip())
        except NOT_A_LITERAL:
            raise msgspec.DecodeError(f"neither JSON nor a Python literal ({error})") from None
        return msgspec.convert(literal, kind)


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file):
                yield (raw if number else raw.removeprefix(b"\xef\xbb\xbf")).decode(errors="replace")
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: damaged or incomplete gzip file ({error}); download it again") from None
