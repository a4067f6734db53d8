"""Errors of the bank room.

BankError
├── BankUrlError          the URL names no backend, or a setting in it is wrong
├── BankKeyError          the secret that hides user ids is missing, wrong or unusable
├── BankUnavailableError  the store did not answer, or not as it should
│   ├── BankRefusedError     it answered that this login may not: wrong password, missing right
│   └── BankDamagedError     its file is cut short
├── BankFullError         the store has no room for what was to be written
├── UnknownReleaseError   the bank holds no release of that name, or none is active
├── RecordError           a value that is not a record of this format
└── PublishError          publishing did not finish; the active release is unchanged

Every error carries the exit code that the command line gives it: 2 for input that the user can fix, else 1.
"""

from userip.errors import UserIPError


class BankError(UserIPError):
    """Base of everything that the bank raises on purpose."""


class BankUrlError(BankError):
    """The bank URL is not usable."""

    exit_code = 2


class BankKeyError(BankError):
    """The secret under which a release hashes its user ids is not at hand. The message names the variable to set."""

    exit_code = 2


class BankUnavailableError(BankError):
    """The store did not answer within its time, or not as it should."""


class BankRefusedError(BankUnavailableError):
    """User, password or rights are not enough. The message says who logged in, and what to fix."""

    exit_code = 2


class BankDamagedError(BankUnavailableError):
    """The file of an embedded bank is not whole. The message says what to do."""

    exit_code = 2


class BankFullError(BankError):
    """The store has no room left."""


class UnknownReleaseError(BankError):
    """The bank holds no such release."""

    exit_code = 2


class RecordError(BankError):
    """The bytes are not a record."""


class PublishError(BankError):
    """A publication did not finish. The active release is as it was."""
