"""Settings of the method `counts`."""

from typing import Annotated

from pydantic import Field

from userip.training.methods.settings import MethodSettings

Size = Annotated[int, Field(ge=1, le=65535)]


class CountsConfig(MethodSettings):
    """What is counted of a history, and into how many codes.

    generosity  codes for how users judge against what others say of the same items: in ratings where the data has
                them, else in likes.
    warmth      codes for the share of what they like, shrunk to everybody's.
    activity    codes for how many interactions they have.
    """

    generosity: Size = 16
    warmth: Size = 16
    activity: Size = 16
