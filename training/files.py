"""Writing a file whole or not at all."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from userip.training.errors import DataError


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


def json_text(content: Any, indent: int | None = 1) -> str:  # noqa: ANN401  (whatever JSON holds)
    """`content` as JSON that every reader knows: what is not a finite number is null."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def _finite(content: Any) -> Any:  # noqa: ANN401
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if math.isfinite(content) else None
    return content


def read_json(file: Path, step: str) -> dict[str, Any]:
    """What an earlier step wrote. Raises DataError naming the file and the step to run."""
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{file}: not found; run `userip {step}` first") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: not JSON ({error}); run `userip {step}` again") from None
    return content
