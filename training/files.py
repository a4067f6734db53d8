"""Writing a file whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def beside(file: Path) -> Iterator[Path]:
    """Give a place beside `file` to write to; it takes the file's place when the block ends without an error.

    A killed program leaves `file` as it was, and at most `<file>.partial`, which the next attempt overwrites.
    """
    partial = file.with_name(file.name + ".partial")
    yield partial
    partial.replace(file)


def write_text(file: Path, text: str) -> None:
    """Write `text` in UTF-8, whole or not at all."""
    with beside(file) as partial:
        partial.write_text(text, encoding="utf-8")
