"""Names of before still work for one release, with a line that says the new one."""

import logging

log = logging.getLogger(__name__)


def warn_renamed(old: str, new: str) -> None:
    """Say that `old` goes with the next release."""
    log.warning("%s is now %s; the old name goes with the next release", old, new)
