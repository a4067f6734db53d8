"""The report as Markdown with GitHub's tables; plots become the tables of their numbers."""

import re

from userip.reporting.blocks import Block, Cell, Column, Headline, Report, Section, Table, Text, Verdict
from userip.reporting.numbers import NOTHING, plain, write_cell
from userip.reporting.tables import as_table, best_cells, is_heading


def markdown(report: Report) -> str:
    """`report` as one Markdown document, with an overview of the questions first. The same report, the same text."""
    parts = [f"# {_text(report.title)}", _text(report.subtitle)]
    parts.append("\n".join(_headline(one) for one in report.headline))
    asked = [section for section in report.sections if section.question]
    if asked:
        lines = [f"| {_badge(section)} | {_text(section.question)} | {_text(section.answer)} |" for section in asked]
        parts.append("\n".join(["| | question | answer |", "|:--|:--|:--|", *lines]))
    parts.append("\n".join(f"- {_text(name)}: {_text(value)}" for name, value in report.facts))
    for section in report.sections:
        parts += _section(section)
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(one: Headline) -> str:
    about = f" ({_text(one.about)})" if one.about else ""
    return f"- **{_text(one.figure)}** {_text(one.name)}{about}"


def _section(section: Section) -> list[str]:
    answer = " ".join(text for text in (_badge(section), _text(section.answer)) if text)
    question = f"*{_text(section.question)}*" if section.question else ""
    return [
        f"## {_text(section.title)}",
        question,
        answer,
        *(part for block in section.blocks for part in _block(block)),
    ]


def _badge(section: Section) -> str:
    return f"**{section.verdict.capitalize()}**" if section.verdict else ""


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        return [f"### {_text(block.title)}" if block.title else "", *(_text(text) for text in block.paragraphs)]
    table = as_table(block)
    return [f"### {_text(table.title)}" if table.title else "", _table(table), _text(table.note)]


def _table(table: Table) -> str:
    best = best_cells(table)
    lines = [
        "| " + " | ".join(_text(column.name) for column in table.columns) + " |",
        "|" + "|".join(":--" if column.kind == "text" else "--:" for column in table.columns) + "|",
    ]
    for number, row in enumerate(table.rows):
        if is_heading(table, row):
            cells = [f"**{_text(str(row[0]))}**"] + [""] * (len(table.columns) - 1)
        else:
            pairs = enumerate(zip(row, table.columns, strict=True))
            cells = [_cell(cell, column, best=(number, at) in best) for at, (cell, column) in pairs]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if table.rows else "\n".join([*lines, f"| {NOTHING} " + "|" * len(table.columns)])


def _cell(cell: Cell, column: Column, *, best: bool) -> str:
    text = write_cell(cell, column.kind)
    if isinstance(cell, str | Verdict):
        return _text(text)
    number, *interval = text.split(" ", maxsplit=1)
    return " ".join([f"**{number}**", *interval]) if best else text


def _text(text: str) -> str:
    """`text` on one line, with a backslash before whatever Markdown would read as markup."""
    flat = " ".join(plain(text).split())
    escaped = re.sub(r"([\\`*_\[\]<>|~&])", r"\\\1", flat)
    # What begins a heading, a list or an underline where it begins a line.
    return re.sub(
        r"^(#|[-+=]|\d+(?=[.)](?:\s|$)))",
        lambda found: found[1] + "\\" if found[1].isdigit() else "\\" + found[1],
        escaped,
    )
