"""From profiles to codes, without a language model: quantizers, one folder each."""

from typing import Final

from userip.training.quantize.kmeans.quantizer import KMeans
from userip.training.quantize.protocol import Quantizer
from userip.training.quantize.residual.quantizer import ResidualKMeans

QUANTIZERS: Final[dict[str, Quantizer]] = {
    "kmeans": KMeans(),
    "residual": ResidualKMeans(),
}
