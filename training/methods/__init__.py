"""Profile methods: from histories to profiles, one folder each."""

from typing import Final

from userip.training.methods.counts.method import Counts
from userip.training.methods.protocol import ProfileMethod
from userip.training.methods.taste.method import Taste
from userip.training.methods.userip.method import UserIP

METHODS: Final[dict[str, ProfileMethod]] = {
    "userip": UserIP(),
    "counts": Counts(),
    "taste": Taste(),
}
DEFAULT: Final = next(iter(METHODS))
