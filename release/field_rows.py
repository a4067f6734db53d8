"""What a plain graph is run with: a row of every field for each candidate, put together from a request's parts.

A folded graph takes the parts themselves (`items`, `request`, `user`, `slots`, `context`), and has the item fields in
its item rows. A plain graph knows nothing of requests: here the rows of its item fields are looked up in the release.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from userip.release.errors import ReleaseError
from userip.release.manifest import ITEM_FIELDS, MANIFEST, Manifest
from userip.release.private_copy import map_array

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FieldRows:
    """Columns of the graph's `rows`, by what they are filled from.

    item_fields    int64 [items + 1, C]: the rows of an item's id and of its fields; line 0 is the unknown item
    item_columns   where these C stand
    user           where the user row stands, as one column; none without a user field
    slots          of every slot of a record, in their order
    context        of every context field, in their order
    """

    item_fields: Rows
    item_columns: tuple[int, ...]
    user: tuple[int, ...]
    slots: tuple[int, ...]
    context: tuple[int, ...]

    @classmethod
    def read(cls, directory: Path, manifest: Manifest, shared: Path | None = None) -> "FieldRows":
        """Map item_fields.npy, as `map_tables` does its tables.

        Raises ReleaseError, naming the file, where it does not fit the manifest's fields.
        """
        fields = manifest.fields

        def places(*sources: str) -> tuple[int, ...]:
            return tuple(place for place, field in enumerate(fields) if field.source in sources)

        columns = (*places("item_row"), *places("item"))
        file = directory / ITEM_FIELDS
        if ITEM_FIELDS not in manifest.files:
            raise ReleaseError(f"{directory / MANIFEST}: files: no hash for {ITEM_FIELDS}, which a plain graph needs")
        item_fields = map_array(file, manifest.files[ITEM_FIELDS], shared)
        wanted = (manifest.items + 1, len(columns))
        if item_fields.dtype != np.int64 or item_fields.shape != wanted:
            raise ReleaseError(f"{file}: {item_fields.dtype} {item_fields.shape}, expected int64 {wanted}")
        if item_fields.min() < 0 or (item_fields.max(axis=0) >= [fields[place].size for place in columns]).any():
            raise ReleaseError(f"{file}: a row is beyond the size of its field; export the release again")
        slots = tuple(fields.index(field) for field in manifest.slot_fields)
        return cls(item_fields, columns, places("user_row"), slots, places("context"))

    @property
    def width(self) -> int:
        """F, how many fields the graph has."""
        return len(self.item_columns) + len(self.user) + len(self.slots) + len(self.context)

    def __call__(self, parts: Mapping[str, Rows]) -> Rows:
        """The rows int64 [N, F] of the inputs that a folded graph would be given: `items` [N], `request` [N], ..."""
        rows = np.empty((len(parts["items"]), self.width), np.int64)
        rows[:, self.item_columns] = self.item_fields[parts["items"]]
        if self.user:
            rows[:, self.user] = parts["user"][parts["request"], None]
        if self.slots:
            rows[:, self.slots] = parts["slots"][parts["request"]]
        if self.context:
            rows[:, self.context] = parts["context"][parts["request"]]
        return rows
