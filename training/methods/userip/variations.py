"""What an evaluation varies of this method (paper, Table 3, Figures 5 and 6)."""

from typing import Final

from userip.training.methods.protocol import Variation

ABLATIONS: Final = {
    "last 8 items": Variation(("history.longest=8",)),
    "last 8 items, each sees those before it": Variation(("history.longest=8", "history.factorised=false")),
    "random start": Variation(("infer.start=random",)),
    "shared start": Variation(("infer.start=shared",)),
    "without polarity": Variation(("history.polarity=false",)),
    "straight-through to z": Variation(("quantize.update=gradient", "quantize.straight_through=z")),
    "straight-through to both": Variation(("quantize.update=gradient", "quantize.straight_through=both")),
    "preset paper": Variation(preset="paper"),
    "preset released": Variation(preset="released"),
    "without the mask": Variation(
        impossible="the facets' slots never see each other's soft tokens: no setting changes that"
    ),
}
SWEEPS: Final = {
    **{f"soft_tokens={m}": Variation((f"infer.soft_tokens={m}",)) for m in (1, 2, 4)},
    **{f"size={size}": Variation(size=size) for size in (3, 4, 9, 16, 27, 81)},
    **{f"facets={count}": Variation(facets=count) for count in (1, 2, 3)},
}
