"""What every backend offers: `Bank` for writers and tools, `AsyncReader` for the service, `Backend` opens them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from userip.bank.errors import RecordError
from userip.bank.record import Record
from userip.bank.release_meta import ReleaseMeta
from userip.bank.release_records import ReleaseRecords

# What a lookup gives for one user: the record; None = unknown user; the error = a damaged value, which the
# caller counts.
Lookup = Record | None | RecordError
Progress = Callable[[int, int], None]  # (users written, users in all)
StoredRecord = tuple[int, bytes, bytes]  # bucket, field, value


@dataclass(frozen=True, slots=True)
class ReleaseInfo:
    """One complete release in a bank. `bytes` is the store's figure for its records, None if it has none."""

    name: str
    users: int
    slots: int
    bytes: int | None
    created: str
    updated: str
    active: bool
    previous: bool  # the release that `rollback` goes to
    folded_in: int  # users added since it was published

    @classmethod
    def of(cls, name: str, meta: ReleaseMeta, size: int | None, history: list[str]) -> "ReleaseInfo":
        """By what the bank keeps of it, bytes, and the releases that were activated, the active one first."""
        active, previous = history[:1] == [name], history[1:2] == [name]
        return cls(name, meta.users, meta.slots, size, meta.created, meta.updated, active, previous, meta.folded_in)

    @property
    def bytes_per_user(self) -> float | None:
        """Store bytes per user, None where unknown."""
        return self.bytes / self.users if self.bytes is not None and self.users else None


@dataclass(frozen=True, slots=True)
class StaleStaging:
    """Records of a publication that did not finish, or of a release on its way out."""

    release: str
    staging: str
    started: str
    alive: bool  # a publisher is at work on it

    def __str__(self) -> str:
        return f"{self.release} (incomplete {self.staging})"


@dataclass(frozen=True, slots=True)
class Repaired:
    """What `Bank.repair` did: records written again, and how many are gone for good."""

    written: int
    gone: int  # of users that were folded in: no release directory holds them


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """What a whole store takes: its version, bytes of memory or disk, processor seconds until now."""

    version: str
    bytes: int
    cpu_s: float


class Bank(Protocol):
    """A store of releases, synchronous. Every method raises BankUnavailableError when there is no answer."""

    def active(self) -> str | None:
        """The name of the active release."""

    def releases(self) -> list[ReleaseInfo]:
        """All complete releases, oldest first."""

    def stale_stagings(self) -> list[StaleStaging]:
        """Records that belong to no complete release; `prune` deletes those without a living publisher."""

    def publish(self, release: str, records: ReleaseRecords, progress: Progress | None = None) -> None:
        """Write a release beside the others and verify it; it is complete afterwards, but not active.

        A complete release of that name is replaced, unless it is active; what a killed publisher left goes.
        Raises PublishError or BankFullError; the active release is then as it was.
        """

    def warnings(self) -> list[str]:
        """What in the store's settings may lose records, one line each with the fix."""

    def count_missing(self, release: str) -> int:
        """How many records of a complete release are not there any more: evicted, or deleted by something else.

        Users that were folded in count too. Raises UnknownReleaseError.
        """

    def repair(self, release: str, records: ReleaseRecords) -> Repaired:
        """Write those records of a complete release that are lost, in place.

        A record that is there stays as it is: a fold-in may have changed it. What is lost and not given is not
        counted as a user any more. Raises UnknownReleaseError, PublishError or BankFullError.
        """

    def activate(self, release: str) -> None:
        """Make a complete release the active one, in one atomic step. Raises UnknownReleaseError."""

    def rollback(self) -> str:
        """Activate the release that was active before, and forget the present one's turn; return its name.

        Raises UnknownReleaseError if there is none.
        """

    def prune(self, keep: int = 1, *, dry_run: bool = False) -> list[str]:
        """Delete stale stagings and all releases but the active one and the `keep` before it; return the names."""

    def upsert(self, release: str, records: Mapping[str, Record]) -> None:
        """Add or change users of a complete release.

        Raises UnknownReleaseError, RecordError (wrong number of codes), or PublishError if a user's place is
        taken by another user; then no record was changed.
        """

    def forget(self, user_id: str) -> list[str]:
        """Delete the records of a user from all releases; the names of those that held one.

        `ReleaseMeta.forgotten` of every release rises, also where nothing was found: what was interrupted may be done
        again, and caches and replicas hear of it. Records without a release (`stale_stagings`) go first, if nobody
        writes them. Raises BankKeyError, with nothing deleted, where the ids of a release are hidden by another secret.
        """

    def get_many(self, release: str, user_ids: Sequence[str]) -> list[Lookup]:
        """The records of `user_ids`, in order. Raises UnknownReleaseError if the bank lacks the release."""

    def usage(self) -> StoreUsage:
        """What the whole store takes, of the bank or not."""

    def close(self) -> None:
        """Let go of connections and files."""


class AsyncReader(Protocol):
    """The service's way in: reads only, bounded by a deadline, never retried."""

    @property
    def remote(self) -> bool:
        """Whether records come over a network, so that a replica on this machine is worth keeping."""

    @property
    def in_use(self) -> int:
        """Connections that some request holds at this moment; 0 where there are none, or none can tell."""

    def exists(self) -> bool:
        """False where it is known, without asking a server, that no bank was made yet."""

    async def active(self) -> str | None:
        """The name of the active release. Raises BankUnavailableError."""

    async def meta(self, release: str) -> ReleaseMeta | None:
        """What the bank knows of a complete release, None if it does not hold it. Raises BankUnavailableError."""

    async def get_many(self, release: str, user_ids: Sequence[str]) -> list[Lookup]:
        """The records of `user_ids`, in order, in one round trip.

        Raises BankUnavailableError after the deadline at the latest, UnknownReleaseError for a release
        that the bank does not hold.
        """

    def updated(self, release: str) -> float | None:
        """When the release's records last changed, unix seconds, without a round trip; None where unknown."""

    async def read_buckets(self, release: str, meta: ReleaseMeta, buckets: Iterable[int]) -> list[StoredRecord]:
        """Everything that `buckets` hold, in their order and within each by field: for a replica of the release."""

    async def close(self) -> None:
        """Let go of connections and files."""


class Backend(Protocol):
    """The package of a backend, `bank.backends.<name>`: opens what a URL of its schemes names, contacting nothing yet.

    The arguments are those of `bank.opening`. Both raise BankUrlError.
    """

    def open_bank(self, url: str, *, create: bool, timeout_s: float, lease_s: float) -> Bank:
        """The bank, for writing and tools."""

    def open_reader(self, url: str, *, deadline_s: float, max_connections: int) -> AsyncReader:
        """The bank, for the service."""
