"""URLs of LMDB banks.

lmdb:///var/lib/userip/bank      lmdb://./bank            ?map_mb=64 (first size of the map; it grows)
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import Field

from userip.bank.errors import BankUrlError
from userip.bank.redaction import redact
from userip.bank.urls import UrlSettings, query_settings, reading


class LmdbUrl(UrlSettings):
    """An LMDB directory."""

    path: Path
    map_mb: int = Field(default=64, ge=1, le=1 << 24)


def parse_url(url: str) -> LmdbUrl:
    """Read the URL. Raises BankUrlError."""
    with reading(url):
        parts = urlsplit(url)
        if parts.netloc not in ("", ".", ".."):
            raise BankUrlError(
                f"bank {redact(url)!r}: write lmdb:///absolute/path, or lmdb://./path below the working directory"
            )
        path = unquote(parts.netloc + parts.path)
        if path in ("", "/"):
            raise BankUrlError(f"bank {redact(url)!r}: no directory given; write lmdb:///path/to/bank")
        settings: dict[str, Any] = dict(query_settings(url, ("map_mb",)))
        # Checked here for all: a reader would advise to publish, which could not make the directory.
        nearest = next(place for place in (Path(path), *Path(path).parents) if os.path.lexists(place))
        if not nearest.is_dir():
            problem = f"{nearest} is not a directory; give an existing or a new one"
            raise BankUrlError(f"bank {redact(url)!r}: {problem}")
        return LmdbUrl(path=Path(path), **settings)
