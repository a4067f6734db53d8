"""The three files, and what the page looks like to a machine."""

import json
import math
import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.loadtests.report.made_up import EVIL, MACHINE, gate, load_row, scale_row, whole
from userip.loadtests.errors import BenchInputError
from userip.loadtests.report import write_report


def written(out: Path, text: str = "") -> dict[str, str]:
    """The report of `whole`, by file name."""
    write_report(out, whole(text), [gate(f"gate{text}", how=f"how{text}")], MACHINE | {f"more{text}": text}, [text])
    return {file.name: file.read_text(encoding="utf-8") for file in out.iterdir()}


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A report in which every text that can be given would be markup if it were not escaped."""
    return written(tmp_path_factory.mktemp("evil"), EVIL)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A report with all its sections."""
    return written(tmp_path_factory.mktemp("plain"))


def test_the_rows_are_written_as_they_were_handed_over(tmp_path: Path) -> None:
    """With keys that the report does not know; what is not a number is null."""
    rows = [load_row(more="kept"), load_row(p50_ms=math.nan), scale_row("lmdb", 5, 1.0)]
    write_report(tmp_path, rows, [], {}, [])
    assert json.loads((tmp_path / "latency.json").read_text()) == [rows[0], rows[1] | {"p50_ms": None}, rows[2]]


def test_a_bad_row_leaves_the_report_before_as_it_was(tmp_path: Path) -> None:
    """No file is touched, and nothing stands beside."""
    write_report(tmp_path, [load_row()], [], {}, [])
    before = {file.name: file.read_text() for file in tmp_path.iterdir()}
    with pytest.raises(BenchInputError):
        write_report(tmp_path, [{"scenario": "x"}], [], {}, [])
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == before
    assert set(before) == {"latency.json", "report.md", "report.html"}


def test_the_same_rows_give_the_same_bytes(tmp_path: Path, plain: dict[str, str]) -> None:
    """In another directory, at another time."""
    assert written(tmp_path) == plain


def test_no_text_becomes_markup(evil: dict[str, str]) -> None:
    """Names of variants, scenarios, routes, generators, banks, gates, facts and notes are shown, not run."""
    page = evil["report.html"]
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;") > 50
    assert "<script" not in evil["report.md"].replace("\\<", "")
    assert not re.search(r"(?<!\\)\*stars", evil["report.md"])


def test_the_page_needs_nothing_from_outside(evil: dict[str, str]) -> None:
    """No address, no element that loads, no handler."""
    page = evil["report.html"]
    assert not re.search(r"https?://|url\((?!#)|@import|\bsrc=", page)
    tags = {part.tag for part in ET.fromstring(page.split("\n", 1)[1]).iter()}
    assert not tags & {"script", "link", "img", "iframe", "object", "image"}


def test_every_section_is_there_and_the_gates_are_first(plain: dict[str, str]) -> None:
    """In the order of the page, and so in Markdown."""
    found = [unescape(title) for title in re.findall(r"<h2>(.*?)</h2>", plain["report.html"])]
    assert found == [
        "Gates", "The paper's measure", "Saturation", "Latency at fixed rates", "Number of candidates",
        "Cache and workers", "Generators", "Scale", "Caveats", "All figures", "Machine",
    ]  # fmt: skip
    assert re.findall(r"^## (.*)", plain["report.md"], re.MULTILINE) == found


def test_a_variant_has_one_colour_on_the_whole_page(plain: dict[str, str]) -> None:
    """The mark before its name is the same in every legend, also where other variants are missing."""
    drawings = re.findall(r"<svg.*?</svg>", plain["report.html"], re.DOTALL)
    for name, hue in {"UserIP": 0, "DCN": 3, "KAR online": 1, "echo": 7}.items():
        drawn = [found for found in drawings if f">{name}<" in found and "--hue" in found]
        assert len(drawn) > 5
        assert {f"var(--hue{hue})" in found for found in drawn} == {True}


@pytest.mark.parametrize(
    "rows",
    [[], [load_row(p50_ms=None, p95_ms=None, p99_ms=None, throughput=0.0, requests=0, failed=9, quantiles=[])]],
    ids=["no rows", "nothing answered"],
)
def test_a_report_of_nothing_is_a_report(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    """An interrupted bench, or a service that answered nothing, has its page all the same."""
    write_report(tmp_path, rows, [], {}, [])
    ET.fromstring((tmp_path / "report.html").read_text().split("\n", 1)[1])
