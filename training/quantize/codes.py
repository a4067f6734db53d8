"""Everybody's codes, written, and how evenly the codebooks are used."""

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from userip.bank.record import UNKNOWN_CODE
from userip.training.crossfit.views import CrossFitViews
from userip.training.methods.em_state import EMState
from userip.training.methods.protocol import Facet
from userip.training.methods.table import ProfileTable
from userip.training.quantize.codebook_usage import has_collapsed, perplexity

log = logging.getLogger(__name__)

AT_ONCE: Final = 4096  # views whose z is in memory


def write_codes(
    out: Path, state: EMState, table: ProfileTable, views: CrossFitViews, facets: tuple[Facet, ...]
) -> dict[str, Any]:
    """Assign every view's codes, write codes.parquet, and report the usage among train users."""
    codes = np.empty((len(views), len(facets)), dtype=np.uint16)
    for begin in range(0, len(views), AT_ONCE):
        members = np.arange(begin, min(begin + AT_ONCE, len(views)))
        codes[members] = state.assign(table[members]).numpy()
    codes[views.interactions() == 0] = UNKNOWN_CODE
    users = pl.Series("user_id", views.users, dtype=pl.String).gather(views.user)
    columns = {facet.name: codes[:, j] for j, facet in enumerate(facets)}
    pl.DataFrame({"user_id": users, "fold": views.without, **columns}).write_parquet(out / "codes.parquet")
    return {"facets": [_usage(facet, codes[views.full, j]) for j, facet in enumerate(facets)]}


def _usage(facet: Facet, codes: np.ndarray[Any, np.dtype[np.uint16]]) -> dict[str, Any]:
    """Shares of the known codes of train users; a warning where they say little."""
    known = codes[codes != UNKNOWN_CODE]
    share = np.bincount(known, minlength=facet.size) / max(len(known), 1)
    in_use = perplexity(share)
    collapsed = has_collapsed(in_use, facet.size)
    if collapsed:
        log.warning(
            "WARNING: codebook %s has collapsed: perplexity %.2f of %d codes, smallest share %.3f. "
            "Its codes tell users apart poorly; give the facet a lower size, or infer profiles that differ more",
            facet.name, in_use, facet.size, share.min(),
        )  # fmt: skip
    if share.min() == 0 and not collapsed:
        log.warning("codebook %s: %d of %d codes are unused", facet.name, (share == 0).sum(), facet.size)
    return {
        "name": facet.name,
        "size": facet.size,
        "usage": [round(float(value), 6) for value in share],
        "perplexity": round(in_use, 4),
        "smallest_share": round(float(share.min()), 6),
        "collapsed": collapsed,
    }
