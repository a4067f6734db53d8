"""Reading profiles from the bank: bounded in time, never failing, and honest about what was found."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from structlog.typing import FilteringBoundLogger

from bank.errors import BankError, BankUnavailableError, RecordError, UnknownReleaseError
from bank.protocol import AsyncReader
from bank.record import UNKNOWN_CODE, Record
from service.scorer import Shape

# known: the bank holds this user; default: it does not; unavailable: it could not say.
Outcome = Literal["known", "default", "unavailable"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of one user; `record` is there when the outcome is known."""

    outcome: Outcome
    record: Record | None = None


@dataclass(slots=True)
class Reading:
    """The profiles of some users, in the order asked, and what happened on the way."""

    profiles: list[Profile]
    seconds: float
    corrupt: int = 0  # damaged or impossible records, each taken as the default profile
    failure: str | None = None  # why nothing was read: unavailable, no_release, error


DEFAULT = Profile("default")
UNAVAILABLE = Profile("unavailable")


class Profiles:
    """The bank as scoring sees it. Holds no cache and no state but whether the last read worked."""

    def __init__(self, reader: AsyncReader, log: FilteringBoundLogger) -> None:
        self.reader = reader
        self._log = log
        self._failing: str | None = None

    async def read(self, release: str, shape: Shape, user_ids: Sequence[str]) -> Reading:
        """Look all users up in one round trip. Never raises for a bank that is away: the outcome says so."""
        started = time.perf_counter()
        failure = None
        try:
            found = await self.reader.get_many(release, user_ids)  # bounded by the reader's deadline
        except BankUnavailableError:
            failure = "unavailable"
        except UnknownReleaseError:
            failure = "no_release"
        except BankError:
            failure = "error"
        self._note(failure)
        if failure is not None:
            return Reading([UNAVAILABLE] * len(user_ids), time.perf_counter() - started, failure=failure)
        corrupt = 0
        profiles = []
        for record in found:
            if record is None:
                profiles.append(DEFAULT)
            elif isinstance(record, RecordError) or not _possible(record, shape):
                corrupt += 1
                profiles.append(DEFAULT)
            else:
                profiles.append(Profile("known", record))
        return Reading(profiles, time.perf_counter() - started, corrupt=corrupt)

    def _note(self, failure: str | None) -> None:
        """Log when the bank goes away and when it comes back, not on every request between."""
        if failure != self._failing:
            if failure is None:
                self._log.info("bank is back")
            else:
                self._log.warning("bank reads fail; default profiles are served", failure=failure)
            self._failing = failure


def _possible(record: Record, shape: Shape) -> bool:
    """Whether every number of the record is a row that the graph has. Values of the bank are not trusted."""
    if record.row >= (shape.user or record.row + 1) or len(record.codes) != len(shape.slots):
        return False
    if len(record.vector) != 4 * shape.vector:
        return False
    return all(code == UNKNOWN_CODE or code + 1 < size for code, size in zip(record.codes, shape.slots, strict=True))
