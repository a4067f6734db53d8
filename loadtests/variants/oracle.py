"""The right scores of a variant: its torch network on rows looked up here, with neither graph, bank nor service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from userip.bank.record import rows_of_codes
from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.kar import KarDCN
from userip.training.export.tables import Catalogue, roles_of
from userip.training.recommender.encoder import FieldEncoder
from userip.training.threads import one_thread

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Oracle:
    """Whom and what the network knows: line 0 of `user_rows` and of `item_rows` is for whatever it does not.

    user_rows  int64 [1 + users, columns of users]     user_columns, item_columns: where they stand in a network's row
    item_rows  int64 [1 + items, columns of items]     every other column is 0, a context that was not given
    """

    model: DCN
    width: int
    users: Mapping[str, int]
    items: Mapping[str, int]
    user_rows: Rows
    item_rows: Rows
    user_columns: tuple[int, ...]
    item_columns: tuple[int, ...]

    def scores(self, user_id: str, item_ids: Sequence[str]) -> NDArray[np.float32]:
        """Probabilities of a click, float32 [len(item_ids)]."""
        rows = np.zeros((len(item_ids), self.width), dtype=np.int64)
        rows[:, self.user_columns] = self.user_rows[self.users.get(user_id, 0)]
        rows[:, self.item_columns] = self.item_rows[[self.items.get(item, 0) for item in item_ids]]
        with one_thread(), torch.inference_mode():
            scores: NDArray[np.float32] = torch.sigmoid(self.model(torch.from_numpy(rows))).numpy()
        return scores


def oracle_of(model: DCN, encoder: FieldEncoder, profiles: pl.DataFrame, catalogue: Catalogue) -> Oracle:
    """The oracle of a network over `encoder`'s fields; KAR's also reads the text of line k, in row k of its table."""
    roles, fields = roles_of(encoder), len(encoder.fields)
    user_columns, item_columns = [*roles.slots], [roles.item, *roles.categories]
    user_rows = [_code_rows(profiles[encoder.fields[place].name]) for place in roles.slots]
    item_rows = [catalogue.rows]
    if roles.user is not None:
        user_rows.append(profiles["row"].cast(pl.Int64).to_numpy())
        user_columns.append(roles.user)
    texts = isinstance(model, KarDCN)
    if texts:
        user_rows.append(np.arange(1, profiles.height + 1))
        item_rows.append(np.arange(len(catalogue.rows))[:, None])
        user_columns.append(fields)
        item_columns.append(fields + 1)
    known = np.stack(user_rows, axis=1)
    return Oracle(
        model=model,
        width=fields + 2 * texts,
        users={user: line for line, user in enumerate(profiles["user_id"], start=1)},
        items={item: line for line, item in enumerate(catalogue.ids, start=1)},
        user_rows=np.concatenate([np.zeros_like(known[:1]), known]),
        item_rows=np.concatenate(item_rows, axis=1),
        user_columns=tuple(user_columns),
        item_columns=tuple(item_columns),
    )


def _code_rows(codes: pl.Series) -> Rows:
    """Row k + 1 for code k, 0 for the unknown one."""
    return rows_of_codes(codes.to_numpy())
