"""Errors of the load tests.

LoadTestError
├── BenchInputError      an option, file or result directory cannot be used
├── GeneratorError       a load generator ended without figures
└── WrongAnswerError     answers under load were not what the oracle says

Every error carries the exit code that the command line gives it: 2 for input that the user can fix, else 1.
"""

from userip.errors import UserIPError


class LoadTestError(UserIPError):
    """Base of everything that the load tests raise on purpose."""


class BenchInputError(LoadTestError):
    """The message names the option or file and the fix."""

    exit_code = 2


class GeneratorError(LoadTestError):
    """The message names the generator and what it said last."""


class WrongAnswerError(LoadTestError):
    """The report is written; the message names the scenarios and variants with wrong answers."""
