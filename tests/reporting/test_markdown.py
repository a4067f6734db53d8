"""The report as Markdown."""

import re

import pytest

from tests.reporting import sample
from userip.reporting.blocks import Block, Column, Headline, Report, Table, Text
from userip.reporting.markdown import markdown

TEXT = markdown(sample.whole())


def of(*blocks: Block) -> str:
    """The Markdown of some blocks."""
    return markdown(sample.of(*blocks))


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table; a bar behind a backslash is text."""
    found = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()] for table in found]


def test_every_row_of_every_table_has_a_cell_for_each_column() -> None:
    """Bars in the data's titles are escaped, line breaks flattened."""
    found = tables(TEXT)
    assert len(found) > 7
    for table in found:
        assert {len(row) for row in table} == {len(table[0])}


def test_markup_in_texts_is_escaped() -> None:
    """Neither HTML nor emphasis out of a title; one that begins like a heading or a list stays a sentence."""
    assert "<script" not in TEXT.replace("\\<", "")
    assert not re.search(r"(?<!\\)\*stars", TEXT)
    assert "\x00" not in TEXT
    TEXT.encode()
    text = of(Text(("# no heading", "1. no list", "- no list", "3.5 is a number", "two\nlines")))
    for line in ("\\# no heading", "1\\. no list", "\\- no list", "3.5 is a number", "two lines"):
        assert f"\n{line}\n" in text


def test_the_overview_comes_first() -> None:
    """Question, answer and verdict of every section that asks."""
    first = tables(TEXT)[0]
    assert [row[0].strip() for row in first[2:]] == ["**Yes**", "**No**", "**Undecided**", ""]
    assert first[3][1:] == [" And that? ", " It is not. "]


def test_the_headline_is_a_list_with_its_figures_in_bold() -> None:
    """Right below the title."""
    report = Report("r", headline=(Headline("1.05", "as slow", "paper: 1.30"), Headline("2", "users")))
    assert markdown(report) == "# r\n\n- **1.05** as slow (paper: 1.30)\n- **2** users\n"


def test_a_table_is_written_with_its_best_in_bold() -> None:
    """By hand: headings over their rows, numbers to the right, the mean of the best bold without its interval."""
    columns = (Column("method"), Column("AUC", "metric", "higher"), Column("gain", "difference"))
    assert of(Table("t", columns, (("set",), ("a", 0.5, None), ("b", 0.75, 0.25)), "Note.")) == (
        "# r\n\n## s\n\n### t\n\n"
        "| method | AUC | gain |\n|:--|--:|--:|\n"
        "| **set** |  |  |\n| a | 0.5000 | \u2013 |\n| b | **0.7500** | +0.2500 |\n\nNote.\n"
    )


@pytest.mark.parametrize(
    ("block", "rows"),
    [
        (sample.INTERVALS, ["| above | +0.2000 [+0.1000,\u00a0+0.3000] | better |", "| unknown | \u2013 |  |"]),
        (
            sample.LINES,
            [
                "| 1 | 0.5000 [0.4000,\u00a00.6000] | 0.5000 | 0.5500 |",
                "| 4 | 0.7000 [0.6000,\u00a00.8000] | \u2013 | 0.5500 |",
            ],
        ),
        (sample.NAMED, ["| b | \u2013 | 5.0000 |"]),
        (sample.CODEMAP, ["| 1 | 2 | 50.0\u00a0% |", "| 12 | 1 | 25.0\u00a0% |"]),
        (sample.WORDS, ["| rare | \u2013 |"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_plot_becomes_the_table_of_its_numbers(block: Block, rows: list[str]) -> None:
    """What the eye reads off the plot, the rows say."""
    lines = of(block).splitlines()
    assert [row for row in rows if row not in lines] == []


@pytest.mark.parametrize("block", sample.EMPTY, ids=lambda block: type(block).__name__)
def test_a_block_without_values_is_written_all_the_same(block: Block) -> None:
    """And no table is ragged."""
    for table in tables(of(block)):
        assert {len(row) for row in table} == {len(table[0])}


def test_the_same_report_gives_the_same_bytes() -> None:
    """Whenever and however often it is written."""
    assert markdown(sample.whole()) == TEXT
