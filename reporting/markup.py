"""Elements of HTML and SVG, with everything escaped that is not itself an element.

What is built here is well-formed XML, so that the drawings can be checked with an XML parser. It names no namespace:
a drawing inside an HTML page needs none.
"""

import re
from html import escape

_EMPTY = frozenset({"circle", "line", "meta", "path", "rect", "col"})
# Neither XML nor UTF-8 can hold these, yet a title out of somebody's data can.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is markup already. Any other string is escaped where it becomes part of an element."""

    __slots__ = ()


def plain(text: str) -> str:
    """`text` with each character that no document can hold replaced by the replacement character."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def element(tag: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """<tag attributes>children</tag>. `class_` is class, x_y is x-y, None leaves out, numbers are pixels."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{px(value) if isinstance(value, (int, float)) else _text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _EMPTY:
        return Markup(f"<{tag}{written}/>")
    return Markup(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*parts: str) -> Markup:
    """The parts one after the other, escaped where they are not markup."""
    return Markup("".join(part if isinstance(part, Markup) else _text(part) for part in parts))


def px(value: float) -> str:
    """A length in pixels, to a tenth: 12, 12.5, 0."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _text(text: str) -> str:
    return escape(plain(text), quote=True)
