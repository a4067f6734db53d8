"""What a report is made of: plain results, without a word about how they look.

A `Report` holds `Section`s, each of which tests one claim; a section holds blocks. `markdown.py` and `page.py` show
every block. Texts are plain text: whatever is in them is shown as it is, never read as markup.

Numbers are floats; None and NaN mean "no value" and are shown as an en dash. A block whose parts do not fit each
other raises ValueError where it is made.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["yes", "no", "undecided"]
SIGNS: dict[Outcome, str] = {"yes": "✓", "no": "✗", "undecided": "?"}
Better = Literal["higher", "lower"]
Kind = Literal[
    "text", "metric", "difference", "percent", "change", "count", "number", "seconds", "milliseconds", "ratio"
]
"""How a number is written.

metric 0.7312 · difference +0.0012 · percent 95.0 % (of the fraction 0.95) · change +1.2 % (of the fraction 0.012) ·
count 12,345 · number: three significant digits · seconds 41 s, 3.3 min, 1.2 h · milliseconds 0.430 ms ·
ratio 1.05 and the sign of times · text: words, left-aligned.
"""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, for a cell of a `Table`: "+0.0012 [+0.0003, +0.0021]"."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """A word with an outcome's sign and colour, for a cell of a `Table`: "✓ ok"."""

    text: str
    outcome: Outcome


Cell = str | float | Estimate | Verdict | None


@dataclass(frozen=True)
class Column:
    """A column of a `Table`. With `better`, its best value is bold, in every group of rows on its own.

    If its kind is "difference" or "change", an `Estimate` whose interval excludes zero is coloured as well.
    """

    name: str
    kind: Kind = "text"
    better: Better | None = None


@dataclass(frozen=True)
class Table:
    """Rows under columns; one text alone is a heading over the rows below it. `ours`: numbers of rows to tint."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    ours: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) not in (1, len(self.columns)):
                raise ValueError(f"{self.title}: row {number} has {len(row)} cells for {len(self.columns)} columns")


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text; `title` is a small heading over them."""

    paragraphs: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True)
class Reference:
    """A line to compare with: across the plot of `Lines` at this y, down that of `Intervals` at this x."""

    name: str
    value: float


@dataclass(frozen=True)
class IntervalRow:
    """One estimate with its interval. Rows of one `group` stand together under its name, in the order given."""

    name: str
    mean: float
    low: float
    high: float
    group: str = ""


NO_DIFFERENCE = Reference("no difference", 0.0)


@dataclass(frozen=True)
class Intervals:
    """Forest plot: a row each, its mean a point, its interval a bar.

    A row is coloured as better or worse where its interval lies on one side of the first reference; `better` says
    which side. Without a reference nothing is coloured.
    """

    title: str
    axis: str
    rows: tuple[IntervalRow, ...]
    references: tuple[Reference, ...] = (NO_DIFFERENCE,)
    kind: Kind = "difference"
    better: Better = "higher"
    note: str = ""


@dataclass(frozen=True)
class Series:
    """Points (x, y), with intervals where low and high are given; `hue`: its colour and mark, else its place.

    x are numbers, or names that stand at equal distances in the order in which they first occur.
    """

    name: str
    x: Sequence[float] | Sequence[str]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    hue: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or not len(self.low) == len(self.high) in (0, len(self.y)):
            lengths = f"x {len(self.x)}, y {len(self.y)}, low {len(self.low)}, high {len(self.high)}"
            raise ValueError(f"series {self.name}: lengths differ: {lengths}")


@dataclass(frozen=True)
class Lines:
    """Sweeps and learning curves: a line through the points of each series, with a band.

    With `log_x`, every x is above zero; with `log_y`, so is every y, low, high and reference.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    references: tuple[Reference, ...] = ()
    kind: Kind = "metric"
    note: str = ""
    log_y: bool = False

    def __post_init__(self) -> None:
        across = [x for series in self.series for x in series.x]
        up = [y for series in self.series for y in (*series.y, *series.low, *series.high)]
        up += [reference.value for reference in self.references]
        bad_x = self.log_x and any(isinstance(x, str) or x <= 0 for x in across)
        if bad_x or (self.log_y and any(y <= 0 for y in up)):
            raise ValueError(f"{self.title}: a logarithmic axis shows only numbers above zero")


@dataclass(frozen=True)
class CodeMap:
    """A point per user, coloured by code, each code named in its middle. `names[c]` names code c, else its number.

    Of many users every n-th is drawn, and the caption says so. Users without finite x and y are left out.
    """

    title: str
    x: Sequence[float]
    y: Sequence[float]
    codes: Sequence[int]
    names: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.y) == len(self.codes):
            raise ValueError(f"{self.title}: {len(self.x)} x, {len(self.y)} y and {len(self.codes)} codes")
        if any(code < 0 for code in self.codes):
            raise ValueError(f"{self.title}: a code is below 0")


@dataclass(frozen=True)
class Word:
    """A word, genre or title that is over-represented in a code: lift 1.0 is as often as everywhere."""

    word: str
    lift: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class WordGroup:
    """The words of one code; `about` says more of it ("412 users")."""

    name: str
    words: tuple[Word, ...]
    about: str = ""


@dataclass(frozen=True)
class WordLists:
    """What each code is about: a card per code, its words with their lift as bars on one common scale."""

    title: str
    groups: tuple[WordGroup, ...]
    note: str = ""


Plot = Intervals | Lines | CodeMap
Block = Table | Text | Plot | WordLists


@dataclass(frozen=True)
class Section:
    """One claim: the question that it answers, the answer in one plain sentence, and what it rests on.

    With a question it stands in the overview at the top, with a badge where it has a verdict. `title` is unique.
    """

    title: str
    question: str = ""
    answer: str = ""
    verdict: Outcome | None = None
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Headline:
    """A figure to stand large at the top, as it is written there, with what it is and a word more about it."""

    figure: str
    name: str
    about: str = ""


@dataclass(frozen=True)
class Report:
    """The whole; `facts` (name, value) say what was measured on what: data set, rows, seeds, version, time."""

    title: str
    subtitle: str = ""
    sections: tuple[Section, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    headline: tuple[Headline, ...] = ()
