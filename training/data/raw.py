"""What a reader hands to cleaning, and the account of rows that could not be read."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from userip.terminal import one_line
from userip.training.data.dataset import FieldInfo
from userip.training.errors import BadRowsError

ALLOWED_BAD_SHARE: Final = 0.01
SHOWN: Final = 5
LINE: Final = "__line"  # the line of the file that a row came from; never reaches a data set


@dataclass(frozen=True)
class RawData:
    """Interactions and catalogue as read, before cleaning.

    interactions  user_id str, item_id str, rating f64 null, timestamp i64 null (unix seconds), `label` bool
                  where the source states it, then user and context fields as str; in the order of the file
    items         item_id str, title str null, then item fields and attributes as str; ids may repeat
    positive_above  the default threshold of the format; None where `label` is given or a person has to choose
    """

    interactions: pl.DataFrame
    items: pl.DataFrame
    sources: tuple[Path, ...]
    positive_above: float | None
    fields: tuple[FieldInfo, ...] = ()
    attributes: tuple[str, ...] = ()


@dataclass
class RowReport:
    """Counts rows read and rows left out, per file, and remembers the first few bad ones."""

    seen: Counter[Path] = field(default_factory=Counter)
    bad: Counter[Path] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def saw(self, path: Path, rows: int) -> None:
        """Count `rows` rows of `path`, good and bad ones together."""
        self.seen[path] += rows

    def leave_out(self, path: Path, problems: Iterable[tuple[int, str]], rows: int | None = None) -> None:
        """Count bad rows, given as (line, problem); `rows` where it is not their number."""
        number = 0
        for line, problem in problems:
            number += 1
            if len(self.examples) < SHOWN:
                self.examples.append(f"{path.name}:{line}: {one_line(problem)}")
        self.bad[path] += number if rows is None else rows

    @property
    def total_bad(self) -> int:
        """The number of rows left out, over all files."""
        return self.bad.total()

    def refuse_if_many(self, *, allowed: bool) -> None:
        """Raise BadRowsError if more than 1 % of any file's rows are bad and this was not allowed."""
        for path, bad in self.bad.items():
            if bad > ALLOWED_BAD_SHARE * self.seen[path] and not allowed:
                shown = "; ".join(self.examples)
                raise BadRowsError(
                    f"{path}: {bad:,} of {self.seen[path]:,} rows cannot be read ({shown}). "
                    "Fix the file, or skip such rows with --allow-bad-rows"
                )


def keep_good(frame: pl.DataFrame, path: Path, report: RowReport, problems: Sequence[pl.Expr]) -> pl.DataFrame:
    """Drop and report the rows where any of `problems` (str, null where all is well) speaks."""
    judged = frame.with_columns(pl.coalesce(problems).alias("__problem"))
    bad = judged.filter(pl.col("__problem").is_not_null())
    report.leave_out(path, bad.head(SHOWN).select(LINE, "__problem").iter_rows(), rows=bad.height)
    return judged.filter(pl.col("__problem").is_null()).drop("__problem")


def missing(column: str) -> pl.Expr:
    """A problem where the str `column` is null or blank."""
    return pl.when(pl.col(column).fill_null("").str.strip_chars() == "").then(pl.lit(f"{column} is empty"))


def unusable(column: str, parsed: pl.Expr, kind: str) -> pl.Expr:
    """A problem where `parsed` could make no `kind` ("a number") of the str `column`."""
    said = pl.format(f"{column} '{{}}' is not {kind}", pl.col(column).fill_null("").str.slice(0, 40))
    return pl.when(parsed.is_null()).then(said)


def number(column: str) -> pl.Expr:
    """The str `column` as a finite f64; null for anything else, NaN and infinities too."""
    parsed = pl.col(column).str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(parsed.is_finite()).then(parsed)


def whole_number(column: str) -> pl.Expr:
    """The str `column` as i64; null for anything else. `12.0` is whole."""
    parsed = number(column)
    return pl.when((parsed == parsed.floor()) & (parsed.abs() < 2**53)).then(parsed).cast(pl.Int64)


def banded(value: pl.Expr, starts: Sequence[float], names: Sequence[str]) -> pl.Expr:
    """The name of the band of `value`: `names[0]` below `starts[0]`, `names[k]` from `starts[k - 1]` on."""
    name: pl.Expr = pl.lit(names[0])
    for start, word in zip(starts, names[1:], strict=True):
        name = pl.when(value >= start).then(pl.lit(word)).otherwise(name)
    return pl.when(value.is_not_null()).then(name)


def parse_interactions(
    frame: pl.DataFrame, path: Path, report: RowReport, *, names: Sequence[str], time: pl.Expr
) -> pl.DataFrame:
    """From str columns to `user_id, item_id, rating, timestamp`; the rows that do not parse are reported.

    `names` are the columns that hold the four, in this order; `time` turns the fourth into unix seconds.
    """
    user, item, rating, when = names
    problems = [
        missing(user),
        missing(item),
        unusable(rating, number(rating), "a number"),
        unusable(when, time, "a time"),
    ]
    return keep_good(frame, path, report, problems).select(
        user_id=pl.col(user).str.strip_chars(),
        item_id=pl.col(item).str.strip_chars(),
        rating=number(rating),
        timestamp=time.cast(pl.Int64),
    )
