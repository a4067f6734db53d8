"""The record cache: profiles read lately, in the process, of one release, with a maximum and a TTL.

Records of a release change by fold-in alone, so a short TTL is safe. Two generations bound the size without work per
hit: entries are written to the young one; when it holds half of the capacity it becomes the old one, and the old one
before is dropped. An entry of the old one that is asked for moves to the young one.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    value: V
    until: float  # on the caller's clock; later it is stale


class RecordCache(Generic[V]):
    """At most `capacity` values (or one more) of one release, each fresh for `seconds`. A capacity of 0 keeps none."""

    def __init__(self, capacity: int, seconds: float) -> None:
        self._half = (capacity + 1) // 2
        self._capacity = capacity
        self._seconds = seconds
        self._release = ""
        self._young: dict[str, _Entry[V]] = {}
        self._old: dict[str, _Entry[V]] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def get(self, release: str, user_id: str, now: float) -> V | None:
        """The fresh value of a user, or None."""
        entry = self._find(release, user_id)
        return entry.value if entry is not None and now < entry.until else None

    def stale(self, release: str, user_id: str) -> V | None:
        """The value of a user however old it is: for when the bank cannot say."""
        entry = self._find(release, user_id)
        return None if entry is None else entry.value

    def put(self, release: str, user_id: str, value: V, now: float) -> None:
        """Remember a value that was read at `now`. Another release forgets everything of the one before."""
        if not self._capacity:
            return
        if release != self._release:
            self._release, self._young, self._old = release, {}, {}
        self._keep(user_id, _Entry(value, now + self._seconds))

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old = {}, {}

    def _find(self, release: str, user_id: str) -> _Entry[V] | None:
        if release != self._release:
            return None
        entry = self._young.get(user_id)
        if entry is None and (entry := self._old.get(user_id)) is not None:
            self._keep(user_id, entry)
        return entry

    def _keep(self, user_id: str, entry: _Entry[V]) -> None:
        if len(self._young) >= self._half and user_id not in self._young:
            self._old, self._young = self._young, {}
        self._young[user_id] = entry
