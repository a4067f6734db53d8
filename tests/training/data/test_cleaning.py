import networkx  # type: ignore[import-untyped]  # it ships no types
import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from userip.training.data.cleaning import core, deduplicate, label

pairs_strategy = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=80, unique=True)


def frame_of(pairs: list[tuple[int, int]]) -> pl.DataFrame:
    return pl.DataFrame(
        {"user_id": [f"u{user}" for user, _ in pairs], "item_id": [f"i{item}" for _, item in pairs]},
        schema={"user_id": pl.String, "item_id": pl.String},
    )


@given(pairs=pairs_strategy, at_least=st.integers(1, 4))
def test_the_core_is_the_k_core_of_the_bipartite_graph(pairs: list[tuple[int, int]], at_least: int) -> None:
    """Users and items that remain are those of networkx' k-core, and a second pass changes nothing."""
    graph = networkx.Graph((f"u{user}", f"i{item}") for user, item in pairs)
    expected = {tuple(sorted(edge, reverse=True)) for edge in networkx.k_core(graph, at_least).edges}
    kept = core(frame_of(pairs), at_least)
    assert set(kept.iter_rows()) == expected
    assert core(kept, at_least).equals(kept)


def test_the_core_keeps_the_order_of_rows_and_is_fast_for_a_million() -> None:
    """A million rows in random order keep their order and their long tail is dropped."""
    rng = np.random.default_rng(0)
    users = rng.zipf(1.3, 1_000_000) % 200_000
    items = rng.zipf(1.3, 1_000_000) % 50_000
    frame = pl.DataFrame({"user_id": users, "item_id": items, "place": np.arange(users.size)})
    frame = frame.with_columns(pl.col("user_id", "item_id").cast(pl.String))
    kept = core(frame, 4)
    assert 0 < kept.height < frame.height
    assert kept["place"].is_sorted()
    for entity in ("user_id", "item_id"):
        assert kept[entity].value_counts()["count"].min() >= 4  # type: ignore[operator]


def test_of_repeated_pairs_the_latest_stays() -> None:
    """The latest time wins; among equal times, and without times, the last row of the file."""
    rows = pl.DataFrame(
        {
            "user_id": ["a", "a", "a", "b", "b", "c", "c"],
            "item_id": ["x", "x", "x", "x", "x", "x", "x"],
            "rating": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
            "timestamp": [30, 10, 20, 5, 5, None, None],
        }
    )
    kept = deduplicate(rows).sort("user_id")
    assert kept["rating"].to_list() == [1.0, 5.0, 7.0]


def test_a_rating_is_positive_strictly_above_the_threshold() -> None:
    """label = rating > R; without a threshold the source's own label stays."""
    rows = pl.DataFrame({"rating": [2.5, 3.0, 3.5], "label": [True, True, False]})
    assert label(rows, 3.0)["label"].to_list() == [False, False, True]
    assert label(rows, None)["label"].to_list() == [True, True, False]
