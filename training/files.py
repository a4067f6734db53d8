"""Reading what an earlier step wrote."""

import json
from pathlib import Path
from typing import Any

from userip.training.errors import DataError


def read_json(file: Path, step: str) -> dict[str, Any]:
    """What an earlier step wrote. Raises DataError naming the file and the step to run."""
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{file}: not found; run `userip {step}` first") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: not JSON ({error}); run `userip {step}` again") from None
    return content
