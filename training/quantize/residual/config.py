"""Settings of the quantizer `residual`."""

from typing import Annotated

from pydantic import Field

from userip.training.quantize.config import QuantizeConfig


class ResidualConfig(QuantizeConfig):
    """Several codes per facet, whose vectors add up.

    levels      codes per facet: the first has the facet's size, and words of the method describe it; the others refine.
    level_size  codes of every further level.
    """

    levels: Annotated[int, Field(ge=1, le=32)] = 4
    level_size: Annotated[int, Field(ge=2, le=256)] = 16
