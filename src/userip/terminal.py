"""What reaches a terminal is text: control characters of foreign data are written out as \\uXXXX, whoever prints them.

Ids, names of columns, cells of files and answers of servers are not ours; raw, one could clear the screen, hide or
turn around what follows, or answer in place of the person at the keyboard.
"""

import re
from collections.abc import Iterable
from typing import Final, TextIO

# C0 without tab and newline, DEL, C1; line separators; marks that turn the direction of text; halves of surrogates.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def written_out(text: str) -> str:
    """`text` with its control characters written out, but for newlines and tabs."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: object) -> str:
    """The same, with newlines written out as well."""
    return written_out(str(text)).replace("\n", "\\n")


class PlainStream:
    """A text stream that writes control characters out. `bare` is what it writes to; in all else they are one."""

    def __init__(self, bare: TextIO) -> None:
        self.bare = bare

    def write(self, text: str) -> int:
        """Write `text`, plain."""
        self.bare.write(written_out(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write `lines`, plain."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> object:
        return getattr(self.bare, name)


def bare(stream: TextIO) -> TextIO:
    """`stream` for somebody who draws on a terminal and prints nothing foreign."""
    return stream.bare if isinstance(stream, PlainStream) else stream
