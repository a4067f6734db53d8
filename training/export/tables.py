"""The tables of a release: which row an item has in the graph, and the record of every user."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.bank.record import codes_of_rows
from userip.models.graphs.graph import FieldRoles
from userip.release.manifest import FieldSpec
from userip.training.recommender.encoder import FieldEncoder, rows_of_values
from userip.training.recommender.fit import FittedRecommender


@dataclass(frozen=True)
class Catalogue:
    """The items of a release: `ids[i]` has row i + 1; `rows` int64 [n + 1, 1 + C] is what `fold` takes."""

    ids: tuple[str, ...]
    rows: NDArray[np.int64]


def roles_of(encoder: FieldEncoder) -> FieldRoles:
    """Which field plays which part in the graph."""
    user = encoder.positions("user_row")
    return FieldRoles(
        item=encoder.positions("item_row")[0],
        categories=encoder.positions("item"),
        user=user[0] if user else None,
        slots=encoder.positions("code", "user"),
        context=encoder.positions("context"),
    )


def catalogue_of(fitted: FittedRecommender) -> Catalogue:
    """All items with train rows, then those of the catalogue that the recommender knows by an item field."""
    encoder, items = fitted.encoder, fitted.dataset.items
    places = encoder.positions("item")
    trained = encoder.fields[encoder.positions("item_row")[0]].values or ()
    known = pl.DataFrame({"item_id": trained}, schema={"item_id": pl.String})
    fresh = items.select("item_id").join(known, on="item_id", how="anti").sort("item_id")
    listed = pl.concat([known, fresh]).join(items.drop("title"), on="item_id", how="left", maintain_order="left")
    columns = [rows_of_values(listed["item_id"], trained)]
    columns += [rows_of_values(listed[encoder.fields[p].name], encoder.fields[p].values or ()) for p in places]
    rows = np.stack(columns, axis=1)
    said = rows.any(axis=1)  # an item of which no field is known is an unknown item
    return Catalogue(
        tuple(listed["item_id"].filter(pl.Series(said))),
        np.concatenate([np.zeros((1, rows.shape[1]), np.int64), rows[said]]),
    )


def field_specs(encoder: FieldEncoder, items: int) -> tuple[FieldSpec, ...]:
    """The manifest's fields; `items` counts the rows of the graph's item table, row 0 included."""
    slots = {place: slot for slot, place in enumerate(encoder.positions("code", "user"))}
    return tuple(
        FieldSpec(
            name=field.name,
            source=field.source,
            size=items if field.source == "item_row" else field.size,
            slot=slots.get(place),
            values=field.values if field.source in ("user", "context") else None,
        )
        for place, field in enumerate(encoder.fields)
    )


def profiles_of(fitted: FittedRecommender) -> pl.DataFrame:
    """Every user with train or history rows: user_id str, row u32, u16 per slot (65535 = unknown)."""
    rows = fitted.dataset.rows("train", "history")
    encoder = fitted.encoder
    names = [encoder.fields[place].name for place in encoder.positions("user")]
    users = rows.group_by("user_id").agg(pl.col(name).drop_nulls().first() for name in names).sort("user_id")
    columns: dict[str, pl.Series] = {"user_id": users["user_id"]}
    trained = next((field.values or () for field in encoder.fields if field.source == "user_row"), ())
    columns["row"] = pl.Series(rows_of_values(users["user_id"], trained), dtype=pl.UInt32)
    if fitted.codes is not None:
        codes = fitted.codes.rows_of(users["user_id"])
        for slot, name in enumerate(fitted.codes.sizes):
            columns[name] = pl.Series(codes_of_rows(codes[:, slot]))
    for place in encoder.positions("user"):
        field = encoder.fields[place]
        columns[field.name] = pl.Series(codes_of_rows(rows_of_values(users[field.name], field.values or ())))
    return pl.DataFrame(columns)
