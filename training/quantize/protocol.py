"""What a quantizer is. The step, fold-in, export and evaluation know only this.

A quantizer turns profiles z into a few small integers per facet. It is fitted to the train users' whole histories; what
it has fitted is an `EMState`, written by the step. From there on a code is a function of one z alone, so that fold-in
gives the code that training would have given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from userip.training.methods.protocol import Facet
from userip.training.quantize.config import QuantizeConfig

if TYPE_CHECKING:
    from torch import Tensor

    from userip.models.quantizers.codebook import FacetCodes
    from userip.training.methods.em_state import EMState
    from userip.training.methods.table import ProfileTable
    from userip.training.quantize.clicks import Clicks


@dataclass(frozen=True, eq=False)
class Problem:
    """What is quantized, and the clicks that say which differences matter.

    z       float32 [n, J, D]: profiles of train users, from their whole histories
    facets  the J facets of z; the size is that of a facet's first code
    table   z of all views; clicks: train rows, each with the view that does not contain it
    items   how many the catalogue has
    """

    z: "Tensor"
    facets: tuple[Facet, ...]
    table: "ProfileTable"
    clicks: "Clicks"
    items: int
    seed: int


class Quantizer(Protocol):
    """An entry of QUANTIZERS.

    settings  the type of the section `quantize`
    refines   whether it is also an `Alternating`: else quantize.em_rounds is refused
    """

    name: str
    settings: type[QuantizeConfig]
    refines: bool

    def codes(self, facets: tuple[Facet, ...], config: QuantizeConfig) -> tuple[Facet, ...]:
        """Name and size of every code of a user, facet by facet; a facet's first code has its name and size."""

    def fit(self, problem: Problem, config: QuantizeConfig) -> "EMState":
        """The codebooks, one per facet. The same problem gives the same bytes."""

    def open(self, tensors: "Mapping[str, Tensor]", straight_through: str) -> "FacetCodes":
        """A facet's codebook from the `state_dict` that was written."""


@runtime_checkable
class Alternating(Quantizer, Protocol):
    """A quantizer whose codebooks can follow profiles that a method moves towards them."""

    def following(self, before: "EMState", problem: Problem, config: QuantizeConfig, *, last: bool) -> "EMState":
        """The M step after an E step, from the state before it, which stays as it is."""
