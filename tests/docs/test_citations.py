"""Documents that code, tests and pages cite exist, with the section that they name: `docs/method.md#cross-fitting`."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = sorted({path.resolve() for path in (ROOT / "src/userip").iterdir() if path.is_dir()} | {ROOT / "tests"})
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as a browser of the repository makes them."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#{1,6} (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def citations() -> Iterator[tuple[str, Path, str]]:
    """Who cites what: (file, page, section or empty), from comments and docstrings, and from links between pages."""
    for path in (file for room in ROOMS for file in sorted(room.rglob("*.py"))):
        for page, section in re.findall(r"\b(docs/[\w-]+\.md)(?:#([\w-]+))?", path.read_text(encoding="utf-8")):
            yield str(path.relative_to(ROOT)), ROOT / page, section
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for page, section in re.findall(r"\]\(((?:docs/)?[\w-]+\.md)?(?:#([\w-]+))?\)", text):
            yield str(path.relative_to(ROOT)), path.parent / page if page else path, section


def test_cited_sections_exist() -> None:
    """Every page that is cited is there, and has the section."""
    found = list(citations())
    assert len({file for file, _, section in found if section}) > 20
    wrong = [
        f"{file}: {page.name}#{section}"
        for file, page, section in found
        if not page.is_file() or (section and section not in sections(page))
    ]
    assert wrong == []


def test_a_citation_that_leads_nowhere_would_be_found() -> None:
    """The anchors are those of the headings, and of nothing else."""
    assert {"cross-fitting", "kar-baseline", "differences-from-the-paper"} <= sections(ROOT / "docs/method.md")
    assert "crossfitting" not in sections(ROOT / "docs/method.md")


def test_files_that_pages_name_exist() -> None:
    """A path in a page's inline code that begins with a room's folder is there: the reader finds the file to change."""
    rooms = "|".join(sorted({path.name for path in ROOMS} | {"src", "deploy", "requirements", "tools"}))
    named = {
        (page.name, path)
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for path in re.findall(rf"`((?:{rooms})/[\w./-]*)`", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 40
    assert sorted((page, path) for page, path in named if not (ROOT / path).exists()) == []
