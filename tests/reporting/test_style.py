"""Colours that can be read, by the contrast ratio of WCAG 2."""

import pytest

from userip.reporting.style import DEEPEST, HUES, INK, style_sheet


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2, definition)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, 1 to 21."""
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def mixed(colour: str, ground: str, part: float) -> str:
    """`part` of a colour on a ground, as color-mix in srgb does."""
    pairs = [(int(colour[at : at + 2], 16), int(ground[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(over * part + under * (1 - part)):02x}" for over, under in pairs)


def test_the_oracle_knows_black_on_white() -> None:
    """The ends of the scale."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#777777") == 1


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_and_marks_stand_out(scheme: int) -> None:
    """Texts at 4.5:1 on page and card, marks at 3:1 on the page; badges are the page's colour on the verdict's."""
    for name in ("ink", "soft", "link", "yes", "no", "undecided"):
        for ground in ("page", "card"):
            assert contrast(INK[name][scheme], INK[ground][scheme]) >= 4.5
    for hue in HUES:
        assert contrast(hue[scheme], INK["page"][scheme]) >= 3


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_numbers_on_the_strongest_cell_can_be_read(scheme: int) -> None:
    """The ink on the deepest shade of the two hues of a grid."""
    for hue in HUES[:2]:
        cell = mixed(hue[scheme], INK["page"][scheme], DEEPEST[scheme])
        assert contrast(INK["ink"][scheme], cell) >= 4.5


def test_the_sheet_knows_dark_screens_phones_and_paper() -> None:
    """One sheet for all; every bracket is closed."""
    sheet = style_sheet()
    for part in (
        "prefers-color-scheme:dark",
        "@media print",
        "max-width:38rem",
        *(colour for hue in HUES for colour in hue),
    ):
        assert part in sheet
    assert sheet.count("{") == sheet.count("}")
