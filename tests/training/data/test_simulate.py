from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, roc_auc_score

from userip.training.data.build import BuildConfig, build_dataset
from userip.training.data.catalogue import HOBBIES, titles
from userip.training.data.dataset import PLANTED, Dataset
from userip.training.data.raw import RowReport
from userip.training.data.simulate import SimulationConfig, simulate_raw
from userip.training.errors import ConfigError


def simulated(out: Path, **settings: object) -> tuple[Dataset, pl.DataFrame]:
    """The data set and, per user of it in order of id, the planted truth."""
    raw, planted = simulate_raw(SimulationConfig(**settings))  # type: ignore[arg-type]
    dataset = build_dataset(raw, RowReport(), out, BuildConfig(name="simulated"), planted)
    return dataset, pl.read_parquet(out / PLANTED)


def summaries(dataset: Dataset) -> pl.DataFrame:
    """What a person would count from the train rows, per user in order of id."""
    rows = dataset.rows().join(dataset.items, on="item_id")
    level = pl.col("price").replace_strict({"cheap": 0.0, "moderate": 0.5, "expensive": 1.0})
    return rows.group_by("user_id").agg(
        genre=pl.col("genre").mode().sort().first(), liked=pl.col("label").mean(), level=level.mean()
    ).sort("user_id")  # fmt: skip


def test_hobby_and_background_can_be_counted_out_of_the_train_rows(tmp_path: Path) -> None:
    """The favourite genre finds the hobby; generosity and price level together find the background."""
    dataset, planted = simulated(tmp_path / "set")
    users = summaries(dataset)
    assert users["user_id"].equals(planted["user_id"])
    assert adjusted_rand_score(planted["hobby"], users["genre"]) > 0.9
    features = users.select("liked", "level").to_numpy()
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    found = KMeans(3, n_init=5, random_state=0).fit_predict(features)
    assert adjusted_rand_score(planted["background"], found) > 0.75


def test_without_effect_nothing_in_a_user_predicts_his_labels(tmp_path: Path) -> None:
    """With effect 0 neither the planted profile nor the user's own past says anything; item quality does."""
    dataset, planted = simulated(tmp_path / "set", effect=0.0)
    train, test = dataset.rows(), dataset.final_eval()
    users = train.group_by("user_id").agg(past=pl.col("label").mean())
    items = train.group_by("item_id").agg(quality=pl.col("label").mean())
    judged = test.join(users, on="user_id").join(items, on="item_id")
    assert abs(roc_auc_score(judged["label"], judged["past"]) - 0.5) < 0.04  # 2,400 rows: s.e. .012
    assert roc_auc_score(judged["label"], judged["quality"]) > 0.7
    assert abs(adjusted_rand_score(planted["hobby"], summaries(dataset)["genre"])) < 0.02


def test_more_noise_and_wandering_hide_the_profile(tmp_path: Path) -> None:
    """The parameters do what they say: a noisy, wandering crowd is harder to read."""
    clear, truth = simulated(tmp_path / "clear", users=300)
    vague, _ = simulated(tmp_path / "vague", users=300, noise=2.0, wander=0.9)
    scores = [adjusted_rand_score(truth["hobby"], summaries(dataset)["genre"]) for dataset in (clear, vague)]
    assert scores[0] > scores[1] + 0.3


def test_the_truth_stands_beside_the_data_set_and_not_in_it(tmp_path: Path) -> None:
    """planted.parquet has a line for every user of the data set; the tables know nothing of it."""
    dataset, planted = simulated(tmp_path / "set", users=50, hobbies=3, backgrounds=2)
    assert planted.columns == ["user_id", "hobby", "background"]
    assert planted.height == dataset.info.counts["users"]
    assert set(planted["hobby"]) == set(dataset.items["genre"])
    assert "hobby" not in dataset.rows().columns
    assert PLANTED not in dataset.info.files


def test_the_same_seed_gives_the_same_shop() -> None:
    """Simulation depends on its settings alone."""
    first, second, other = (simulate_raw(SimulationConfig(users=50, items=60, seed=seed))[0] for seed in (3, 3, 4))
    assert first.interactions.equals(second.interactions)
    assert first.items.equals(second.items)
    assert not first.interactions.equals(other.interactions)


def test_users_have_their_number_of_different_items() -> None:
    """Nobody has an item twice or fewer than half of the mean; the mean is as asked."""
    raw, _ = simulate_raw(SimulationConfig(users=500, interactions=20))
    number = raw.interactions.group_by("user_id").agg(rows=pl.len(), items=pl.col("item_id").n_unique())
    assert number["rows"].equals(number["items"])
    assert number["rows"].to_numpy().min() >= 10
    assert abs(number["rows"].to_numpy().mean() - 20) < 0.5
    assert set(raw.interactions["rating"]) <= {1.0, 2.0, 3.0, 4.0, 5.0}


@pytest.mark.parametrize("hobby", sorted(HOBBIES))
def test_titles_are_different_and_tell_their_genre(hobby: str) -> None:
    """A thousand titles are all different, and every one has a word of its hobby's vocabulary."""
    found = titles(hobby, 1000, np.random.default_rng(0))
    assert len(set(found)) == 1000
    words = {word for group in HOBBIES[hobby] for word in group}
    assert all(words & set(title.replace(",", "").split()) for title in found)


@pytest.mark.parametrize("setting", [{"hobbies": 9}, {"backgrounds": 7}])
def test_more_than_there_are_words_for_is_refused(setting: dict[str, int]) -> None:
    """The refusal names the flag and the most that is possible."""
    with pytest.raises(ConfigError, match=f"--{next(iter(setting))} .*: at most"):
        simulate_raw(SimulationConfig(**setting))


def test_more_interactions_than_items_allow_are_refused() -> None:
    """Either number may be the one that was given, so the message names both flags, and a value that each may have."""
    for settings, fix in (
        ({"items": 40}, "--items 40 .* --interactions 24.* at least --items 48, or at most --interactions 20"),
        ({"interactions": 200}, "--items 300 .* --interactions 200.* --items 400, or at most --interactions 150"),
    ):
        with pytest.raises(ConfigError, match=fix):
            simulate_raw(SimulationConfig(**settings))
    for settings in ({"items": 48, "users": 10}, {"interactions": 150, "users": 10}):
        simulate_raw(SimulationConfig(**settings))
