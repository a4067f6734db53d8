"""A small KAR network with random weights and vectors, and requests for it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from userip.models.graphs.graph import FieldRoles
from userip.models.recommenders.kar import AdaptorShape, KarDCN, KarShape

Rows = npt.NDArray[np.int64]
ROLES = FieldRoles(item=1, categories=(4,), user=0, slots=(2, 3), context=(5,))
SIZES = (40, 60, 5, 4, 7, 3)
ADAPTOR = AdaptorShape(vector=12, shared=2, dedicated=3, hidden=9, out=5)


def small_kar(
    sizes: tuple[int, ...] = SIZES, adaptor: AdaptorShape = ADAPTOR, *, seed: int = 0, texts: int = 50, **shape: object
) -> KarDCN:
    """In evaluation mode; row 0 of either table of vectors is zero, as for a user or item without a text."""
    torch.manual_seed(seed)
    users, items = (torch.randn(texts, adaptor.vector) for _ in range(2))
    users[0] = items[0] = 0
    model = KarDCN(KarShape(sizes, adaptor=adaptor, **shape), users, items)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.startswith("adaptor"):
                value.mul_(2)  # so that experts and gates differ, whatever the width
            elif value.dtype.is_floating_point:
                noise = 0.3 * torch.randn_like(value)
                value.copy_(noise.abs() + 0.1 if name.endswith("running_var") else value + noise)
        model.head.weight.mul_(0.2)
    return model.eval()


@dataclass(frozen=True)
class Requests:
    """The same candidates as inputs of the graph and as rows [N, F + 2] of the network."""

    feed: dict[str, Rows]
    rows: Rows
    user_texts: Rows
    item_texts: Rows
    catalogue: Rows
    catalogue_texts: Rows


def requests(model: KarDCN, roles: FieldRoles = ROLES, *, n: int = 300, b: int = 4, seed: int = 0) -> Requests:
    """`n` candidates of `b` requests, interleaved; some users and items without a text."""
    rng = np.random.default_rng(seed)
    sizes, texts = model.shape.field_sizes, len(model.user_vectors)
    catalogue = np.stack([rng.integers(0, sizes[f], 70) for f in (roles.item, *roles.categories)], axis=1)
    catalogue_texts = rng.integers(0, len(model.item_vectors), 70)
    catalogue[0], catalogue_texts[0] = 0, 0
    items, request, user_texts = rng.integers(0, 70, n), rng.integers(0, b, n), rng.integers(0, texts, b)
    user_texts[0] = 0
    rows = np.zeros((n, len(sizes) + 2), dtype=np.int64)
    rows[:, [roles.item, *roles.categories]] = catalogue[items]
    rows[:, -2], rows[:, -1] = user_texts[request], catalogue_texts[items]
    feed: dict[str, Rows] = {"items": items, "request": request}
    for name, fields in (("slots", roles.slots), ("context", roles.context)):
        if fields:
            feed[name] = np.stack([rng.integers(0, sizes[f], b) for f in fields], axis=1)
            rows[:, list(fields)] = feed[name][request]
    if roles.user is not None:
        feed["user"] = rng.integers(0, sizes[roles.user], b)
        rows[:, roles.user] = feed["user"][request]
    return Requests(feed, rows, user_texts, catalogue_texts[items], catalogue, catalogue_texts)
