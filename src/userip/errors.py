"""The base of every error that the product raises on purpose.

UserIPError        its message is one line that a person can act on; `exit_code` is what the command line gives
├── BankError      (`bank.errors`)          ├── TrainingError  (`training.errors`)
├── ReleaseError   (`release.errors`)       ├── ServiceError   (`service.errors`)
├── UsageError     (`commands`)             ├── LoadTestError  (`loadtests.errors`)
├── ServerError    (`processes`)            └── DiskFullError  (`disk`)
"""

from typing import ClassVar


class UserIPError(Exception):
    """Something went wrong that was foreseen. `exit_code`: 2 for input that the user can fix, else 1."""

    exit_code: ClassVar[int] = 1
