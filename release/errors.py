"""Errors of the release room."""

from userip.errors import UserIPError


class ReleaseError(UserIPError):
    """A release directory is incomplete, altered or of another format. The message names the file."""

    exit_code = 2


class AbsentReleaseError(ReleaseError):
    """No directory of the release is where the service looks."""
