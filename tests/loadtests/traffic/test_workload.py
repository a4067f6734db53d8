"""The requests of a load test: whom they ask for, what they hold, and that a seed repeats them."""

import json
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from tests.fixtures.tiny_release import ITEMS, write_release
from tests.training.tiny_run import easy_set
from userip.loadtests.errors import BenchInputError
from userip.loadtests.traffic.workload import (
    Population,
    cumulative,
    distinct,
    make_workload,
    population_of_dataset,
    population_of_release,
    read_workload,
)

PEOPLE = Population(tuple(f"u{i}" for i in range(50)), tuple(f"i{i}" for i in range(400)))


def test_popular_users_and_items_come_as_often_as_zipf_says() -> None:
    """Rank k has the share k^-s / sum of all: here by a loop, for users exactly drawn with replacement."""
    workload = make_workload(PEOPLE, "/score", 1, exponent=1.2, seed=3)
    for drawn, ids in (
        ([ask.user_id for (ask,) in workload.asks], PEOPLE.users),
        ([ask.item_ids[0] for (ask,) in workload.asks], PEOPLE.items),
    ):
        whole = sum(rank**-1.2 for rank in range(1, len(ids) + 1))
        for rank in (1, 2, 10):
            share = rank**-1.2 / whole
            spread = (share * (1 - share) / len(drawn)) ** 0.5
            assert abs(drawn.count(ids[rank - 1]) / len(drawn) - share) < 5 * spread


def test_candidates_of_a_request_are_distinct() -> None:
    """Also where nearly the whole catalogue is asked for; only a larger number repeats items, evenly."""
    rng = np.random.default_rng(0)
    law = cumulative(40, 2.0)
    for count in (0, 1, 20, 39, 40):
        drawn = distinct(law, count, rng)
        assert len(set(drawn)) == len(drawn) == count
        assert set(drawn) <= set(range(40))
    assert sorted(distinct(law, 80, rng)) == sorted([*range(40), *range(40)])


def test_bodies_are_what_the_routes_take() -> None:
    """One object for /score, a list of them for /score/batch, and for /profile an id in the path, no body."""
    score = make_workload(PEOPLE, "/score", 7)
    (ask,) = score.asks[5]
    assert json.loads(score.body(5)) == {"user_id": ask.user_id, "item_ids": list(ask.item_ids)}
    batch = make_workload(PEOPLE, "/score/batch", 3, 4)
    requests = json.loads(batch.body(0))["requests"]
    assert [request["user_id"] for request in requests] == [ask.user_id for ask in batch.asks[0]]
    assert [len(request["item_ids"]) for request in requests] == [3, 3, 3, 3]
    profile = make_workload(Population(("a/b ü",), ("i",)), "/profile", 100)
    assert (profile.method, profile.body(0)) == ("GET", b"")
    assert unquote(profile.path(0)) == "/profile/a/b ü"
    assert profile.path(0).count("/") == 2


def test_messages_are_whole_http_requests() -> None:
    """Head and body, with the body's length in bytes."""
    workload = make_workload(Population(("ü",), ("i",)), "/score", 1)
    head, _, body = workload.messages("host:80")[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /score HTTP/1.1"
    assert f"Content-Length: {len(body)}" in lines
    assert "Host: host:80" in lines
    assert body == workload.body(0)


def test_the_same_seed_asks_the_same(tmp_path: Path) -> None:
    """And what is written is read back as it was."""
    one, two = (make_workload(PEOPLE, "/score", 5, seed=8) for _ in range(2))
    assert one == two
    assert one != make_workload(PEOPLE, "/score", 5, seed=9)
    one.write(tmp_path / "w.json")
    assert read_workload(tmp_path / "w.json") == one


def test_a_damaged_workload_is_named(tmp_path: Path) -> None:
    """One clear error with the file."""
    (tmp_path / "w.json").write_text("[1, 2")
    with pytest.raises(BenchInputError, match=r"w\.json: not a workload"):
        read_workload(tmp_path / "w.json")


def test_a_data_set_ranks_by_train_rows(tmp_path: Path) -> None:
    """The first user and item are those with the most train rows, and nobody without one takes part."""
    dataset = easy_set(tmp_path / "data", users=60)
    train = dataset.rows("train")
    population = population_of_dataset(tmp_path / "data")
    for ids, column in ((population.users, "user_id"), (population.items, "item_id")):
        rows = train[column].to_list()
        counts = [rows.count(one) for one in ids]
        assert counts == sorted(counts, reverse=True)
        assert set(ids) == set(rows)


def test_a_release_gives_all_its_users_and_items(tmp_path: Path) -> None:
    """In an order that the seed decides; a directory without the tables is named."""
    import polars as pl

    release = write_release(tmp_path / "release").path
    with pytest.raises(BenchInputError, match=r"--release .*profiles\.parquet"):
        population_of_release(release)
    pl.DataFrame({"user_id": ["a", "b", "c"], "row": [1, 2, 3]}).write_parquet(release / "profiles.parquet")
    population = population_of_release(release, seed=4)
    assert sorted(population.users) == ["a", "b", "c"]
    assert sorted(population.items) == sorted(ITEMS)
    assert population == population_of_release(release, seed=4)
