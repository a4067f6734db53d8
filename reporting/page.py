"""The report as one HTML file, whole in itself: no script, no font, no picture, no address outside."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

from userip.reporting.blocks import (
    SIGNS,
    Block,
    Cell,
    CodeMap,
    Column,
    Estimate,
    Report,
    Table,
    Text,
    Verdict,
    WordLists,
)
from userip.reporting.numbers import plain, write_cell, write_interval, write_number
from userip.reporting.tables import as_table, best_cells, is_heading, standing

HERE = Path(__file__).parent
# With more estimates in a row, each interval is shown below its mean.
SIDE_BY_SIDE = 2


def html(report: Report) -> str:
    """`report` as one HTML document, with the verdicts first. The same report, the same text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    sections = [
        (f"s{at}", section, [_block(block, f"s{at}b{number}") for number, block in enumerate(section.blocks, start=1)])
        for at, section in enumerate(report.sections, start=1)
    ]
    asked = [(key, section) for key, section, _ in sections if section.question]
    count = Counter(section.verdict for _, section in asked)
    page = environment.get_template("report.html").render(
        report=report,
        signs=SIGNS,
        sections=sections,
        asked=asked,
        others=[(key, section) for key, section, _ in sections if not section.question],
        tally=[(outcome, count[outcome]) for outcome in SIGNS if count[outcome]],
    )
    return plain(page)


def _block(block: Block, key: str) -> dict[str, Any]:
    """What the template shows of a block: its kind, and texts that are written as they will stand."""
    if isinstance(block, Text):
        return {"kind": "text", "title": block.title, "paragraphs": block.paragraphs}
    if isinstance(block, Table):
        return {"kind": "table", "title": block.title, "note": block.note, "table": _table(block)}
    if isinstance(block, WordLists):
        return {"kind": "words", "title": block.title, "note": block.note, "cards": _cards(block)}
    from userip.reporting.plots import draw, drawn_of

    note, every = block.note, drawn_of(block) if isinstance(block, CodeMap) else 1
    if isinstance(block, CodeMap) and every > 1:
        note = f"{note} One in {every} of the {len(block.codes):,} users is drawn.".strip()
    table = _table(as_table(block))
    return {"kind": "plot", "key": key, "title": block.title, "note": note, "svg": draw(block, key), "table": table}


def _table(table: Table) -> dict[str, Any]:
    best = best_cells(table)
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(table.rows):
        if is_heading(table, row):
            rows.append({"heading": row[0]})
            continue
        cells = [
            _cell(cell, column, head=at == 0, best=(number, at) in best)
            for at, (cell, column) in enumerate(zip(row, table.columns, strict=True))
        ]
        rows.append({"heading": None, "ours": number in table.ours, "cells": cells})
    estimates = max((sum(isinstance(cell, Estimate) for cell in row) for row in table.rows), default=0)
    return {"columns": table.columns, "rows": rows, "stacked": estimates > SIDE_BY_SIDE}


def _cell(cell: Cell, column: Column, *, head: bool, best: bool) -> dict[str, Any]:
    text, interval = write_cell(cell, column.kind), ""
    classes = ["number"] * (column.kind != "text") + ["best"] * best
    if isinstance(cell, Estimate):
        text, interval = write_number(cell.mean, column.kind), write_interval(cell.low, cell.high, column.kind)
        if column.kind in ("difference", "change"):
            classes.append(standing(cell.low, cell.high, column.better))
    outcome = cell.outcome if isinstance(cell, Verdict) else None
    head = head and column.kind == "text" and not outcome
    return {"text": text, "interval": interval, "class": " ".join(classes), "outcome": outcome, "head": head}


def _cards(block: WordLists) -> list[dict[str, Any]]:
    """A card per code. Bars of all cards have one scale, the logarithm of the lift from 1 on, in percent."""
    ends = [end for group in block.groups for word in group.words for end in (word.lift, word.high)]
    most = max([1.01, *(end for end in ends if math.isfinite(end))])

    def part(lift: float) -> float:
        return round(100 * math.log(max(lift, 1.0)) / math.log(most), 1) if math.isfinite(lift) else 0.0

    return [
        {
            "name": group.name,
            "about": group.about,
            "words": [
                {
                    "word": word.word, "lift": write_number(word.lift, "ratio"),
                    "interval": write_interval(word.low, word.high, "ratio"), "bar": part(word.lift),
                    "low": part(word.low), "reach": round(part(word.high) - part(word.low), 1),
                }
                for word in group.words
            ],
        }
        for group in block.groups
    ]  # fmt: skip
