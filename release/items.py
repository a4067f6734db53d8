"""From item ids to rows: a dict of up to millions of ids, made and freed without holding up who answers requests.

Python threads take turns (the GIL), and one call that makes or frees a million objects takes its turn for a hundred
milliseconds. So both are done in pieces, with a breath after each in which the event loop goes on.
"""

import io
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from userip.release.errors import ReleaseError

_PIECE = 2_000  # ids: about a millisecond
_BREATH_S = 0.0002


def read_item_rows(content: bytes, items: int, path: Path) -> dict[str, int]:
    """The id at position i has row i + 1; `content` is items.npz: `blob` uint8 (ids in UTF-8, joined), `offsets` int64.

    Raises ReleaseError, naming `path`, unless they are `items` different ids.
    """
    try:
        with np.lib.npyio.NpzFile(io.BytesIO(content), allow_pickle=False) as arrays:
            blob, offsets = arrays["blob"], arrays["offsets"]
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ReleaseError(f"{path}: not an npz file with blob and offsets ({error})") from None
    if blob.dtype != np.uint8 or offsets.dtype != np.int64 or blob.ndim != 1 or offsets.ndim != 1:
        raise ReleaseError(f"{path}: blob must be uint8 and offsets int64, both one-dimensional")
    if len(offsets) != items + 1:
        raise ReleaseError(f"{path}: {len(offsets) - 1} items, the manifest says {items}")
    if offsets[0] != 0 or offsets[-1] != len(blob) or (np.diff(offsets) < 0).any():
        raise ReleaseError(f"{path}: offsets do not cut the blob into ids")
    rows: dict[str, int] = {}
    for start in range(0, items, _PIECE):
        cuts = offsets[start : start + _PIECE + 1].tolist()
        joined = blob[cuts[0] : cuts[-1]].tobytes()
        ends = [cut - cuts[0] for cut in cuts]
        try:
            ids = [joined[low:high].decode() for low, high in pairwise(ends)]
        except UnicodeDecodeError:
            raise ReleaseError(f"{path}: an item id is not UTF-8") from None
        rows.update(zip(ids, range(start + 1, start + _PIECE + 1), strict=False))
        if items > _PIECE:
            time.sleep(_BREATH_S)
    if len(rows) != items:
        raise ReleaseError(f"{path}: duplicate item id")
    return rows


def free(rows: dict[str, int]) -> None:
    """Empty a dict that nobody uses any more."""
    while rows:
        for _ in range(min(len(rows), _PIECE)):
            rows.popitem()
        time.sleep(_BREATH_S)
