"""Colours that can be read, by the contrast ratio of WCAG 2."""

import re

import pytest

from userip.reporting import page
from userip.reporting.plots import HUES

SHEET = (page.HERE / "report.css").read_text(encoding="utf-8")


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2, definition)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, 1 to 21."""
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_the_oracle_knows_black_on_white() -> None:
    """The ends of the scale."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#777777") == 1


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_and_marks_stand_out(scheme: int) -> None:
    """Texts at 4.5:1 on page and card, marks at 3:1 on the page; badges are the page's colour on the verdict's."""
    colours = dict(re.findall(r"--(\w+): (#\w{6});", re.findall(r":root \{.*?\}", SHEET, re.DOTALL)[scheme]))
    for name in ("ink", "soft", "link", "yes", "no", "undecided"):
        for ground in ("page", "card"):
            assert contrast(colours[name], colours[ground]) >= 4.5
    for number in range(HUES):
        assert contrast(colours[f"hue{number}"], colours["page"]) >= 3


def test_the_sheet_knows_dark_screens_phones_and_paper() -> None:
    """One sheet for all, and paper is light; every bracket is closed; it loads nothing."""
    for part in ("@media screen and (prefers-color-scheme: dark)", "@media print", "max-width: 38rem"):
        assert part in SHEET
    assert SHEET.count("{") == SHEET.count("}")
    assert "url(" not in SHEET
