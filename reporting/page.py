"""The report as one HTML file, whole in itself: no script, no font, no picture, no address outside."""

from collections import Counter

from userip.reporting.blocks import (
    SIGNS,
    Bars,
    Block,
    Cell,
    CodeMap,
    Column,
    Estimate,
    Headline,
    Heat,
    Intervals,
    Judged,
    Lines,
    Report,
    Section,
    Table,
    Text,
    WordLists,
)
from userip.reporting.cards import draw_heat, draw_words, what_axes_are
from userip.reporting.codemap import draw_codemap, how_many_drawn
from userip.reporting.columns import draw_bars
from userip.reporting.curves import draw_lines
from userip.reporting.forest import draw_intervals
from userip.reporting.markup import Markup, element, join
from userip.reporting.numbers import NOTHING, is_missing, write_cell, write_interval, write_number
from userip.reporting.style import style_sheet
from userip.reporting.tables import Plot, as_table, best_cells, is_heading, standing_of

# Of more estimates in a row, each interval stands below its mean, not beside it.
SIDE_BY_SIDE = 2
# Nothing in the file may load or run anything, whatever the data set's titles hold.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html(report: Report) -> str:
    """`report` as one HTML document, with the verdicts first. The same report, the same text."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", report.title),
        element("style", Markup(style_sheet())),
    )
    sections = [_section(section, f"s{number}") for number, section in enumerate(report.sections, start=1)]
    body = element("body", element("header", *_header(report), id="top"), element("main", *sections))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _header(report: Report) -> list[str]:
    parts = [element("h1", report.title)]
    if report.subtitle:
        parts.append(element("p", report.subtitle, class_="subtitle"))
    if report.headline:
        parts.append(element("div", *(_headline(one) for one in report.headline), class_="headline"))
    if report.facts:
        facts = [element("div", element("dt", name), element("dd", value)) for name, value in report.facts]
        parts.append(element("dl", *facts, class_="facts"))
    return [*parts, *_overview(report)]


def _headline(one: Headline) -> Markup:
    about = element("span", one.about, class_="soft") if one.about else ""
    return element("p", element("b", one.figure), element("span", one.name), about)


def _overview(report: Report) -> list[str]:
    numbered = [(f"s{number}", section) for number, section in enumerate(report.sections, start=1)]
    asked = [(key, section) for key, section in numbered if section.question]
    others = [(key, section) for key, section in numbered if not section.question]
    parts: list[str] = []
    if asked:
        count = Counter(section.verdict for _, section in asked)
        told = [join(element("b", str(count[verdict])), f" {verdict}") for verdict in SIGNS if count[verdict]]
        parts += [element("p", join(*_between(told, " · ")), class_="tally")] if told else []
        parts.append(element("ol", *(_question(key, section) for key, section in asked), class_="overview"))
    if others:
        links = [element("a", section.title, href=f"#{key}") for key, section in others]
        parts.append(element("p", "Also: " if asked else "", join(*_between(links, " · ")), class_="others"))
    return parts


def _between(parts: list[Markup], separator: str) -> list[str]:
    return [piece for part in parts for piece in (separator, part)][1:]


def _question(key: str, section: Section) -> Markup:
    answer = element("span", section.answer, class_="said") if section.answer else ""
    badge = _badge(section) or element("span")
    return element("li", element("a", badge, element("b", section.question), answer, href=f"#{key}"))


def _badge(section: Section) -> Markup:
    return _judged(Judged(section.verdict.capitalize(), section.verdict)) if section.verdict else Markup("")


def _judged(cell: Judged) -> Markup:
    return element("span", write_cell(cell, "text"), class_=f"badge {cell.verdict}")


def _section(section: Section, key: str) -> Markup:
    parts = [element("h2", section.title)]
    if section.question:
        parts.append(element("p", section.question, class_="claim"))
    if section.answer or section.verdict:
        answer = element("p", section.answer)
        parts.append(element("div", _badge(section), answer, class_="answer"))
    blocks = [_block(block, f"{key}b{number}") for number, block in enumerate(section.blocks, start=1)]
    return element("section", *parts, *blocks, id=key)


def _block(block: Block, key: str) -> Markup:
    if isinstance(block, Text):
        heading = element("h3", block.title) if block.title else ""
        return join(heading, *(element("p", paragraph) for paragraph in block.paragraphs))
    if isinstance(block, Table):
        return element("div", _table(block), _note(block.note), class_="block")
    note = block.note
    if isinstance(block, CodeMap):
        note = f"{note} {how_many_drawn(block)}".strip()
    if isinstance(block, Heat):
        note = f"{what_axes_are(block)} {note}".strip()
    caption = element("figcaption", block.title)
    # Cards and coloured cells are texts themselves; behind a drawing stands the table of its numbers.
    table = "" if isinstance(block, WordLists | Heat) else _details(as_table(block))
    return element("figure", caption, _drawn(block, key), _note(note), table, id=key)


def _drawn(block: Plot, key: str) -> Markup:
    match block:
        case WordLists():
            return draw_words(block)
        case Heat():
            return draw_heat(block)
        case Intervals():
            drawing = draw_intervals(block, key)
        case Lines():
            drawing = draw_lines(block, key)
        case Bars():
            drawing = draw_bars(block, key)
        case CodeMap():
            drawing = draw_codemap(block, key)
    return element("div", drawing, class_="wide")


def _note(note: str) -> str:
    return element("p", note, class_="note") if note else ""


def _details(table: Table) -> Markup:
    return element("details", element("summary", "The numbers"), _table(table, caption=False))


def _table(table: Table, *, caption: bool = True) -> Markup:
    best = best_cells(table)
    names = [
        element("th", column.name, scope="col", class_=None if column.kind == "text" else "number")
        for column in table.columns
    ]
    rows = [_row(table, number, row, best) for number, row in enumerate(table.rows)]
    estimates = max((sum(isinstance(cell, Estimate) for cell in row) for row in table.rows), default=0)
    nothing = element("tr", element("td", NOTHING, colspan=str(len(table.columns))))
    drawn = element(
        "table",
        element("caption", table.title) if caption and table.title else "",
        element("thead", element("tr", *names)),
        element("tbody", *(rows or [nothing])),
        class_="stacked" if estimates > SIDE_BY_SIDE else None,
    )
    return element("div", drawn, class_="wide")


def _row(table: Table, number: int, row: tuple[Cell, ...], best: set[tuple[int, int]]) -> Markup:
    if is_heading(table, row):
        over = element("th", str(row[0]), scope="colgroup", colspan=str(len(table.columns)))
        return element("tr", over, class_="group")
    cells = [
        _cell(cell, column, first=at == 0, best=(number, at) in best)
        for at, (cell, column) in enumerate(zip(row, table.columns, strict=True))
    ]
    return element("tr", *cells, class_="ours" if number in table.ours else None)


def _cell(cell: Cell, column: Column, *, first: bool, best: bool) -> Markup:
    if isinstance(cell, Judged):
        return element("td", _judged(cell))
    if first and column.kind == "text":
        return element("th", write_cell(cell, column.kind), scope="row")
    classes = ["number"] if column.kind != "text" else []
    classes += ["best"] if best else []
    classes += [name for name in [standing_of(cell, column)] if name]
    content: str = write_cell(cell, column.kind)
    if isinstance(cell, Estimate) and not (is_missing(cell.low) and is_missing(cell.high)):
        interval = element("span", write_interval(cell.low, cell.high, column.kind), class_="interval-text")
        content = join(write_number(cell.mean, column.kind), " ", interval)
    return element("td", content, class_=" ".join(classes) or None)
