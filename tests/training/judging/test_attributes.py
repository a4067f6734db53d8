"""Which attributes items have, and what these say of an item that nobody has met."""

import numpy as np
import polars as pl
import pytest

from userip.training.judging.attributes import attributes_of, told_by_attributes


def test_cells_are_parted_and_rare_values_left_out() -> None:
    """Several values in a cell, spaces around them, empty cells; a value of one column is not that of another."""
    items = pl.DataFrame(
        {"item_id": list("abcd"), "genre": ["War|Love", " War", None, "Love|"], "mood": ["War", "", "Odd", "War"]}
    )
    table, names = attributes_of(items, ["genre", "mood", "no such column"], 2)
    assert names == ["genre: Love", "genre: War", "mood: War"]
    assert table.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
    none, nothing = attributes_of(items, [], 2)
    assert none.shape == (4, 0)
    assert nothing == []


def test_an_item_that_nobody_met_is_told_by_its_attributes() -> None:
    """PLANTED: items with the first attribute are 2 easier, and the prior takes a sixth of that. Those met stay."""
    draw = np.random.default_rng(0)
    table = (draw.random((300, 3)) < 0.5).astype(np.float32)
    values = 2.0 * table[:, 0] + draw.normal(0, 0.1, 300)
    met = np.where(np.arange(300) < 200, 50.0, 0.0)
    told = told_by_attributes(np.where(met > 0, values, 0.0), table, met)
    assert np.array_equal(told[:200], values[:200])
    assert told[200:] == pytest.approx(2.0 * table[200:, 0], abs=0.45)


def test_without_attributes_or_meetings_it_is_the_mean_or_as_it_was() -> None:
    """Nothing to learn from: the mean of the items that were met; nobody met any: no change."""
    values, table = np.array([1.0, 3.0, 9.0]), np.zeros((3, 0), np.float32)
    assert told_by_attributes(values, table, np.array([5.0, 5.0, 0.0])).tolist() == [1.0, 3.0, 2.0]
    assert told_by_attributes(values, table, np.zeros(3)).tolist() == [1.0, 3.0, 9.0]
