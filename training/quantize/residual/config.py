"""Settings of the quantizer `residual`."""

from typing import Annotated

from pydantic import Field

from userip.training.quantize.config import QuantizeConfig

Levels = Annotated[int, Field(ge=1, le=32)]


class ResidualConfig(QuantizeConfig):
    """Several codes per facet, whose vectors add up.

    levels      codes per facet: the first has the facet's size, and words of the method describe it; the others refine.
                A table gives each facet its own; one that is not named there has one code.
    level_size  codes of every further level.
    """

    levels: Levels | dict[str, Levels] = 4
    level_size: Annotated[int, Field(ge=2, le=256)] = 16

    def sizes(self, facet: str, first: int) -> list[int]:
        """Sizes of the codes of a facet, whose first code has size `first`."""
        levels = self.levels.get(facet, 1) if isinstance(self.levels, dict) else self.levels
        return [first] + [self.level_size] * (levels - 1)
