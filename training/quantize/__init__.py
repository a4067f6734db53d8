"""From profiles to codes, without a language model."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

    from userip.training.methods.em_state import EMState
    from userip.training.methods.table import ProfileTable
    from userip.training.quantize.clicks import Clicks
    from userip.training.quantize.config import QuantizeConfig

# (z of train users [n, J, D], z of all views, clicks, sizes, items, settings, seed) -> the first codebooks
Quantizer = Callable[["Tensor", "ProfileTable", "Clicks", Sequence[int], int, "QuantizeConfig", int], "EMState"]


def _kmeans(
    z: "Tensor", table: "ProfileTable", clicks: "Clicks", sizes: Sequence[int], items: int, config: "QuantizeConfig",
    seed: int,
) -> "EMState":  # fmt: skip
    from userip.training.quantize.kmeans import fit_kmeans

    return fit_kmeans(z, table, clicks, sizes, items, config, seed)


QUANTIZERS: Final[dict[str, Quantizer]] = {
    "kmeans": _kmeans,
}
