"""Errors of the scoring room, without HTTP: `service.errors` maps each to a status.

UserIPError
├── ScoringError           the graph gave something that is not a probability
├── ReloadError            a release could not be loaded beside the served one, which stays
├── ReplicaError           the directory or the bank is not fit for a replica; exit code 2
└── RequestError           a request cannot be answered; `detail` and `errors` are written for clients
    ├── InvalidRequestError   a field is missing, of the wrong type or over a limit
    ├── UnknownUserError      the bank holds no profile of this user
    └── BankAwayError         the answer needs the bank, which cannot be read
"""

from collections.abc import Sequence

from userip.errors import UserIPError
from userip.scoring.messages import FieldProblem


class ScoringError(UserIPError):
    """The graph returned values that are not probabilities."""


class ReloadError(UserIPError):
    """A release could not be loaded beside the served one, which stays. The message holds no path."""


class ReplicaError(UserIPError):
    """No replica can be kept. The message names the setting and the fix."""

    exit_code = 2


class RequestError(UserIPError):
    """Why a request is not answered, in words for the client: no paths, no URLs, no exception texts of libraries."""

    def __init__(self, detail: str, errors: Sequence[FieldProblem] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class InvalidRequestError(RequestError):
    """One or more fields are missing, unknown, of the wrong type, or over a limit."""

    def __init__(self, errors: Sequence[FieldProblem]) -> None:
        super().__init__("The request has fields that cannot be used; see errors.", errors)


class UnknownUserError(RequestError):
    """The bank holds no profile of this user for the served release."""

    def __init__(self) -> None:
        super().__init__("The served release has no profile of this user.")


class BankAwayError(RequestError):
    """This answer needs the bank, which cannot be read."""

    def __init__(self) -> None:
        super().__init__("The profile bank cannot be read; retry in 1 s.")
