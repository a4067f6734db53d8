"""What a bank knows about a complete release, the same in every backend."""

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from userip.bank.batch import Batch
from userip.bank.errors import BankKeyError, PublishError, RecordError
from userip.bank.layout import Layout
from userip.bank.record import Record
from userip.bank.release_records import ReleaseRecords
from userip.bank.user_id_secret import key_check, user_key_of

HISTORY_LENGTH: Final = 16  # how many activations are remembered for rollback
# Ends of messages: backends put "WHERE: " before the first, and "WHERE: release NAME " before the other two.
LEASE_EXPIRED: Final = "the lease of this publisher expired; publish again"
IS_ACTIVE: Final = (
    "is complete and active; it is not written again while it is served. "
    "Activate another release first, or export under another name"
)
WAS_REPLACED: Final = "was replaced in the meantime; run the command again"


class ReleaseMeta(BaseModel):
    """Metadata of a complete release.

    staging    names its records; vector counts the floats of each
    key_check  tells which secret hides the user ids (`bank.user_id_secret`); empty for none
    folded_in  users added since it was published
    forgotten  rises when somebody is forgotten: what was read before is not to be kept
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    staging: str = Field(alias="attempt")
    slots: int
    users: int
    buckets: int
    salt: int
    created: str
    updated: str
    vector: int = 0
    key_check: str = ""
    folded_in: int = 0
    forgotten: int = 0

    @classmethod
    def of_batch(cls, staging: str, batch: Batch) -> "ReleaseMeta":
        """The metadata of a release that has just been written."""
        time, layout = now(), batch.layout
        return cls(
            attempt=staging,
            slots=batch.source.slots,
            vector=batch.source.vector,
            users=len(batch),
            buckets=layout.buckets,
            salt=layout.salt,
            created=time,
            updated=time,
            key_check=key_check(layout.key),
        )

    def stored(self) -> dict[str, Any]:
        """What a bank keeps of it: the names are older than those here, and what is as by default is left out."""
        return self.model_dump(by_alias=True, exclude_defaults=True)

    @property
    def layout(self) -> Layout:
        """Where the release keeps its users. Raises BankKeyError without the key that it wants."""
        return Layout(self.salt, self.buckets, user_key_of(self.key_check))

    def without(self, found: bool) -> "ReleaseMeta":
        """What it says when a user was forgotten, who was `found` in it or not."""
        return self.model_copy(update={"users": self.users - found, "forgotten": self.forgotten + 1, "updated": now()})

    def require_key(self) -> None:
        """Raise BankKeyError unless this process has the key that hides the release's user ids, if one does."""
        user_key_of(self.key_check)

    @property
    def updated_at(self) -> float:
        """When the records last changed, unix seconds."""
        return datetime.datetime.fromisoformat(self.updated).timestamp()


@contextmanager
def naming(release: str) -> Iterator[None]:
    """Name the release in a BankKeyError."""
    try:
        yield
    except BankKeyError as error:
        raise BankKeyError(f"{release}: {error}") from None


def now() -> str:
    """The time in UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def new_staging() -> str:
    """A name for one staging: 8 hexadecimal digits."""
    return os.urandom(4).hex()


def unknown_release(where: str, release: str, known: list[str]) -> str:
    """The message for a release that the bank at `where` does not hold."""
    listed = ", ".join(sorted(known)) if known else "none yet; run `userip publish` first"
    return f"{where}: no complete release {release!r}; it holds {listed}"


def no_earlier(where: str, history: list[str]) -> str:
    """The message for a rollback with nothing to go back to."""
    if not history:
        return f"{where}: no release is active, so there is none to roll back"
    return f"{where}: {history[0]!r} is active and no earlier release is kept to roll back to"


def published_elsewhere(where: str, release: str) -> str:
    """The message for two publishers of one release."""
    return f"{where}: another publisher is writing release {release!r}; wait until it is done"


def check_shape(where: str, release: str, records: ReleaseRecords, meta: ReleaseMeta) -> None:
    """Raise PublishError unless the records are as long as those of the release."""
    if (records.slots, records.vector) != (meta.slots, meta.vector):
        raise PublishError(
            f"{where}: release {release!r} has {meta.slots} codes and {meta.vector} floats a user, the records given "
            f"have {records.slots} and {records.vector}; export under another name"
        )


def place_taken(where: str, release: str, user_id: str) -> str:
    """The message for a new user whose place belongs to another."""
    return (
        f"{where}: user {user_id!r} cannot be added to {release!r}: the place belongs to another user. "
        "Publish the release again with this user: it takes another salt"
    )


def check_record(user_id: str, record: Record, meta: ReleaseMeta) -> None:
    """Raise RecordError unless the record has as many codes and floats as the release."""
    if len(record.codes) != meta.slots:
        raise RecordError(f"user {user_id!r}: {len(record.codes)} codes, the release has {meta.slots}")
    if len(record.vector) != 4 * meta.vector:
        raise RecordError(
            f"user {user_id!r}: a vector of {len(record.vector)} bytes, the release has {4 * meta.vector}"
        )
