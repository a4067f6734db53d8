"""A small report with every kind of block, with texts that would be markup if they were not escaped."""

import math

from userip.reporting.blocks import (
    Block,
    CodeMap,
    Column,
    Estimate,
    Headline,
    IntervalRow,
    Intervals,
    Lines,
    Reference,
    Report,
    Section,
    Series,
    Table,
    Text,
    Verdict,
    Word,
    WordGroup,
    WordLists,
)

EVIL = "<script>alert('1')</script> & \"quotes\" | *stars* \x00\ud800"

TABLE = Table(
    "table " + EVIL,
    (Column("method"), Column("AUC", "metric", "higher"), Column("difference", "difference", "higher")),
    (
        ("first set",),
        ("DCN", 0.7, None),
        ("UserIP", 0.71234, Estimate(0.01234, 0.0002, 0.024)),
        ("second set",),
        ("DCN", 0.8, None),
        ("worse " + EVIL, 0.75, Estimate(-0.05, -0.06, -0.04)),
        ("judged", None, Verdict("word " + EVIL, "no")),
    ),
    note="note " + EVIL,
    ours=(2,),
)
TEXT = Text(("paragraph " + EVIL,), "text " + EVIL)
INTERVALS = Intervals(
    "intervals " + EVIL,
    "axis " + EVIL,
    (
        IntervalRow("above", 0.2, 0.1, 0.3, "group " + EVIL),
        IntervalRow("below " + EVIL, -0.2, -0.3, -0.1),
        IntervalRow("around", 0.0, -0.1, 0.1),
        IntervalRow("unknown", math.nan, math.nan, math.nan),
    ),
)
LINES = Lines(
    "lines " + EVIL,
    "x " + EVIL,
    "y " + EVIL,
    (
        Series("banded " + EVIL, (1, 2, 4), (0.5, math.nan, 0.7), (0.4, math.nan, 0.6), (0.6, math.nan, 0.8)),
        Series("plain", (1, 2), (0.5, 0.6)),
    ),
    log_x=True,
    references=(Reference("reference " + EVIL, 0.55),),
)
NAMED = Lines(
    "named " + EVIL,
    "x " + EVIL,
    "y " + EVIL,
    (
        Series("one " + EVIL, ("a " + EVIL, "b"), (10, math.nan)),
        Series("two", ("a " + EVIL, "b"), (20, 5), (18, math.nan), (22, math.nan)),
    ),
)
CODEMAP = CodeMap("map " + EVIL, (0, 1, math.nan, 3), (0, 1, 2, 3), (0, 1, 1, 12), ("name " + EVIL,))
WORDS = WordLists(
    "words " + EVIL,
    (WordGroup("code " + EVIL, (Word("word " + EVIL, 2.5, 1.5, 3.5), Word("rare", math.nan)), "about " + EVIL),),
)
BLOCKS: tuple[Block, ...] = (TABLE, TEXT, INTERVALS, LINES, NAMED, CODEMAP, WORDS)

EMPTY: tuple[Block, ...] = (
    Table("t", (Column("a"), Column("b", "metric", "higher")), ()),
    Text(()),
    Intervals("i", "axis", ()),
    Lines("l", "x", "y", ()),
    Lines("l", "x", "y", (Series("s", (), ()), Series("n", (1,), (math.nan,))), log_x=True),
    Lines("l", "x", "y", (Series("s", ("a",), (math.nan,)),)),
    CodeMap("c", (), (), ()),
    CodeMap("c", (math.nan,), (1,), (0,)),
    WordLists("w", (WordGroup("g", ()),)),
    WordLists("w", ()),
)


def whole() -> Report:
    """A report with all of `BLOCKS`, a section of each verdict, and one without a question."""
    return Report(
        "title " + EVIL,
        "subtitle " + EVIL,
        (
            Section("first " + EVIL, "Is it so? " + EVIL, "It is. " + EVIL, "yes", BLOCKS),
            Section("second", "And that?", "It is not.", "no", (INTERVALS,)),
            Section("third", "Who knows?", "Nobody.", "undecided"),
            Section("fourth", "No verdict?", "None."),
            Section("How it was measured", blocks=(TEXT,)),
        ),
        (("fact " + EVIL, "value " + EVIL),),
        (Headline("figure " + EVIL, "name " + EVIL, "about " + EVIL),),
    )


def of(*blocks: Block) -> Report:
    """A report of some blocks."""
    return Report("r", sections=(Section("s", blocks=blocks),))
