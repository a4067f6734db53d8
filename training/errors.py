"""Errors of the training room.

TrainingError
├── ConfigError             a setting is unknown, of the wrong kind, or does not fit another one
├── DataError               a file, row or column of the input cannot be used
│   ├── BadRowsError        more rows of the input are unreadable than is allowed
│   └── EmptyDataError      nothing, or too little, is left after cleaning
├── SplitMismatchError      an artifact was made from another split than the data set at hand
├── TestSplitError          test rows were asked for outside the one final evaluation
├── EvaluationError         parts of an evaluation went wrong; the others are written  (`evaluation.evaluate`)
└── ExportError             a release does not say what the recommender says  (`training.export.verify`)

Every error carries the exit code that the command line gives it: 2 for input that the user can fix, else 1.
"""

from userip.errors import UserIPError


class TrainingError(UserIPError):
    """Base of everything that the training room raises on purpose."""


class ConfigError(TrainingError):
    """A setting is not usable. The message names it and says what would be."""

    exit_code = 2


class DataError(TrainingError):
    """An input file is missing or not in its format. The message names file, row and column."""

    exit_code = 2


class BadRowsError(DataError):
    """Too many rows could not be read. The message names the first few with file and line."""


class EmptyDataError(DataError):
    """Cleaning left nothing to train on. The message says which step took the rows."""


class SplitMismatchError(TrainingError):
    """An artifact records another split hash than the data set: the two must not be mixed."""

    exit_code = 2


class TestSplitError(TrainingError):
    """The test rows are read once, through `Dataset.final_eval`, and nowhere else."""

    __test__ = False  # the name begins with "Test": keep pytest from collecting it


class EvaluationError(TrainingError):
    """Some method could not be fitted. Everything else is in the report, which names it."""
