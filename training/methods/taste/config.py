"""Settings of the method `taste`."""

from typing import Annotated

from pydantic import Field

from userip.training.methods.settings import MethodSettings

Size = Annotated[int, Field(ge=1, le=65535)]
Strength = Annotated[float, Field(gt=0.0)]


class TasteConfig(MethodSettings):
    """How item vectors are fitted, and into how many codes profiles go.

    generosity   codes for how users judge against what others say of the same items.
    warmth       codes for the share of what they like, shrunk to everybody's.
    taste        first codes for which items they like more than that says; a quantizer with levels refines them.
    dimensions   length of item vectors and of tastes.
    steps        most steps of fitting; how many is chosen on held-out train users.
    strengths    priors that are tried on these users: precision of the vectors of attributes, and of what items have
                 of their own beside their attributes.
    dropout      share of events that are hidden in a step.
    lr           Adam's rate.
    least_items  an attribute counts where so many items have it.
    """

    folds: Annotated[int, Field(ge=0, le=20)] = 5
    generosity: Size = 16
    warmth: Size = 16
    taste: Size = 16
    dimensions: Annotated[int, Field(ge=1, le=256)] = 8
    steps: Annotated[int, Field(ge=1)] = 200
    strengths: tuple[tuple[Strength, Strength], ...] = ((20.0, 100.0), (40.0, 400.0))
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.3
    lr: Annotated[float, Field(gt=0.0)] = 0.01
    least_items: Annotated[int, Field(ge=1)] = 10
