"""The HTML page."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from tests.reporting import sample
from userip.reporting.blocks import Block, Column, Headline, Report, Table, Verdict
from userip.reporting.page import html

PAGE = html(sample.whole())
VOID = {"meta"}


class Outline(HTMLParser):
    """Collects elements with their attributes and all text, and checks that each element is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of one name."""
        return [attributes for name, attributes in self.found if name == tag]


def drawings(page: str) -> list[ET.Element]:
    """The drawings, read by an XML parser."""
    return [ET.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_the_page_is_well_formed() -> None:
    """Every element is closed in its turn; every drawing is XML; every id is there once, and every link has its own."""
    outline = Outline(PAGE)
    ids = [attributes["id"] for _, attributes in outline.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in outline.all("a")} <= {f"#{name}" for name in ids}
    assert len(drawings(PAGE)) == 5  # four plots, one of them twice
    ET.fromstring(PAGE.split("\n", 1)[1])


def test_the_page_needs_nothing_from_outside() -> None:
    """No address, script, style, font or picture but its own; and its policy forbids the browser to load any."""
    outline = Outline(PAGE)
    assert not re.search(r"https?://|url\((?!#)|@import|src=", PAGE)
    assert not {"script", "link", "img", "iframe", "object", "image", "foreignObject"} & {
        tag for tag, _ in outline.found
    }
    assert all((use["href"] or "").startswith("#") for use in outline.all("use"))
    assert not any(name.startswith("on") for _, attributes in outline.found for name in attributes)
    policies = [meta["content"] for meta in outline.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_titles_from_data_stay_text() -> None:
    """A script in any text of any block is shown, not run; characters that no file can hold are replaced."""
    outline = Outline(PAGE)
    assert not outline.all("script")
    assert outline.text.count("<script>alert('1')</script>") > 30
    assert "\x00" not in PAGE
    PAGE.encode()


@pytest.mark.parametrize("block", sample.BLOCKS, ids=lambda block: type(block).__name__)
def test_every_text_of_every_block_is_on_the_page(block: Block) -> None:
    """Nothing that the evaluation says is lost: titles, names, labels and notes, by the words they begin with."""
    text = Outline(html(sample.of(block))).text
    words = re.findall(r"'(\w+ )<script>|'([a-z]+)'", repr(block).replace('"', "'").replace("\\'", "'"))
    said = {(first or second).strip() for first, second in words} - {"1"}
    settings = {"text", "metric", "difference", "higher", "count", "number", "script", "quotes"}
    assert said - settings
    assert {word for word in said - settings if word not in text} == set()


def test_the_overview_has_every_question_with_its_verdict_and_a_way_there() -> None:
    """Four questions in their order, counted by verdict; a section without a question is linked beside them."""
    outline = Outline(PAGE)
    assert [link["href"] for link in outline.all("a")] == ["#s1", "#s2", "#s3", "#s4", "#s5"]
    head = PAGE[: PAGE.index("<main>")]
    assert re.findall(r'class="badge (\w+)">(.)', head) == [("yes", "✓"), ("no", "✗"), ("undecided", "?")]
    assert "<b>1</b> yes · <b>1</b> no · <b>1</b> undecided" in head
    assert "Is it so?" in head


def test_a_table_marks_the_best_of_each_group_and_what_is_better_or_worse() -> None:
    """0.7123 and 0.8000 are best; the interval above zero is better, the one below is worse; one row is ours."""
    page = html(sample.of(sample.TABLE))
    assert re.findall(r'<td class="number best">([\d.]+)', page) == ["0.7123", "0.8000"]
    assert re.findall(r'<td class="number better">([^ ]+)', page) == ["+0.0123"]
    assert re.findall(r'<td class="number worse">([^ ]+)', page) == ["\u22120.0500"]
    assert re.findall(r'<tr class="ours"><th scope="row">(\w+)', page) == ["UserIP"]
    assert Outline(page).all("caption")


def test_the_headline_stands_above_everything_else() -> None:
    """Its figure, its name and what is said about it, before the facts and the overview."""
    page = html(Report("r", facts=(("fact", "value"),), headline=(Headline("1.05", "as slow", "paper: 1.30"),)))
    tile = '<p><b>1.05</b><span>as slow</span><span class="soft">paper: 1.30</span></p>'
    assert page.index("<h1>") < page.index(tile) < page.index("<dt>")


def test_a_judged_cell_has_sign_and_colour() -> None:
    """A cross in the colour of "no"."""
    table = Table("t", (Column("gate"), Column("")), (("a", Verdict("missed", "no")),))
    assert '<td><span class="badge no">\u2717 missed</span></td>' in html(sample.of(table))


def test_behind_a_plot_stands_the_table_of_its_numbers() -> None:
    """The same as in Markdown, for readers of phones and of screen readers."""
    (behind,) = re.findall(r"<details>.*?</details>", html(sample.of(sample.LINES)), re.DOTALL)
    assert re.findall(r'<td class="number">([\d.\u2013]+)', behind)[:4] == ["1", "0.5000", "0.5000", "0.5500"]


def test_lower_is_best_where_it_is_better() -> None:
    """The same column, with lower better."""
    columns = tuple(replace(column, better="lower") if column.better else column for column in sample.TABLE.columns)
    page = html(sample.of(Table("t", columns, sample.TABLE.rows)))
    assert re.findall(r'<td class="number best">([\d.]+)', page) == ["0.7000", "0.7500"]


def test_a_missing_value_is_an_en_dash() -> None:
    """None and NaN look alike in the tables and in the drawings."""
    assert PAGE.count('<td class="number">\u2013</td>') >= 4
    assert not re.search(r"\bnan\b", PAGE, re.IGNORECASE)


def test_the_same_report_gives_the_same_bytes() -> None:
    """Whenever and however often it is drawn."""
    assert html(sample.whole()).encode() == PAGE.encode()


@pytest.mark.parametrize("block", sample.EMPTY, ids=lambda block: type(block).__name__)
def test_a_block_without_values_is_drawn_all_the_same(block: Block) -> None:
    """An evaluation that skipped something still has its page."""
    page = html(sample.of(block))
    Outline(page)
    ET.fromstring(page.split("\n", 1)[1])
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)


def test_an_empty_report_has_a_page() -> None:
    """Its title, and nothing else."""
    outline = Outline(html(Report("Nothing yet")))
    assert "Nothing yet" in outline.text
    assert not outline.all("ol")
