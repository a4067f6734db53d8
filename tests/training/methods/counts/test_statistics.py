"""What is counted, by hand; and that no count is told by the label that it is for."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.tiny_language import histories
from tests.training.tiny_run import easy_set
from userip.bank.opening import open_bank
from userip.ops.publish import publish_release
from userip.release.manifest import read_manifest
from userip.training.config import load_config
from userip.training.crossfit.histories import Histories
from userip.training.fold_in import fold_in_file
from userip.training.methods.counts import words
from userip.training.methods.counts.statistics import Statistics
from userip.training.methods.step import views_of
from userip.training.run import run_step, steps_of

SOME = histories([0, 1, ~2], [0, ~1, ~2, ~3], [], [3])


def test_the_counts_are_those_of_a_pencil() -> None:
    """Shares of likes shrunk by the prior, and logarithms of lengths; nobody stands at the prior and at 0."""
    found = Statistics.fit(SOME, 4)
    z = found.of(SOME, np.ones(4))
    for user, (likes, length) in enumerate([(2, 3), (1, 4), (0, 0), (1, 1)]):
        assert z[user, 1] == pytest.approx((likes + found.a) / (length + found.a + found.b))
        assert z[user, 2] == pytest.approx(np.log(1 + length))
    assert z[2, 0] == 0.0
    assert z[0, 0] > z[1, 0]  # of the same items, the first user likes more
    assert found.a / (found.a + found.b) == pytest.approx(4 / 8)


def test_generosity_is_in_ratings_where_there_are_any() -> None:
    """Who rates a star above others of the same items is generous by the shrunken mean of that."""
    items = np.tile(np.arange(10), 2)
    some = Histories(np.array([0, 10, 20]), items, np.ones(20, np.bool_), np.repeat([4.0, 3.0], 10).astype(np.float32))
    found = Statistics.fit(some, 10)
    assert found.rated
    assert not Statistics.fit(SOME, 4).rated
    z = found.of(some, np.ones(2))[:, 0]
    assert z[0] == pytest.approx(-z[1])
    assert 0.3 < z[0] < 0.5  # half a star each way, shrunk by three ratings


def test_the_prior_is_the_narrower_the_more_alike_users_are() -> None:
    """Users of one chance, however different their shares by luck, against users who like all or nothing."""
    draw = np.random.default_rng(0)
    alike, apart = (
        [[n if draw.random() < chance else ~n for n in range(12)] for chance in chances]
        for chances in ([0.5] * 200, [0.05, 0.95] * 100)
    )
    strength = [found.a + found.b for found in (Statistics.fit(histories(*users), 12) for users in (alike, apart))]
    assert strength[0] > 20
    assert strength[1] < 5


def test_codes_are_told_in_plain_words() -> None:
    """Figures with their unit; ranges of whole numbers that leave no gap."""
    assert words.generosity(np.array([0.6, -0.62, 0.01]), rated=True) == [
        "rates 0.6 stars above others", "rates 0.6 stars below others", "rates as others do",
    ]  # fmt: skip
    assert words.generosity(np.array([0.7]), rated=False) == ["likes an item with 2.0 times the odds of others"]
    assert words.warmth(np.array([0.62])) == ["likes about 62 % of what they meet"]
    assert words.activity(np.log1p([30.0, 5.0, 100.0])) == [
        "13 to 54 interactions", "up to 12 interactions", "55 interactions or more",
    ]  # fmt: skip


def test_no_label_of_a_fold_reaches_the_counts_without_it(tmp_path: Path) -> None:
    """PLANTED: all of it fitted anew with the labels of fold 0 turned round, z without fold 0 stays to the last bit."""
    dataset = easy_set(tmp_path / "data", users=40)
    config = load_config("quick", settings=["method=counts"], environment={})
    views = views_of(dataset, config, 0)
    method, members = config.profile_method, np.flatnonzero(views.without == 0)
    z = []
    for name, turn in (("a", False), ("b", True)):
        histories_ = views.histories
        if turn:
            inside = views.fold == 0
            rating = histories_.rating
            assert rating is not None
            histories_ = Histories(
                histories_.offsets, histories_.items, histories_.liked ^ inside, np.where(inside, 6 - rating, rating)
            )
        other = type(views)(views.users, views.trained, histories_, views.fold, views.user, views.without)
        (tmp_path / name).mkdir()
        made = method.fit(dataset, other, tmp_path, tmp_path / name, config, 0)
        z.append(made.infer(other.of_views(members), other.keys(members)))
    assert (z[0] == z[1]).all()


@pytest.mark.slow
def test_it_trains_exports_publishes_and_folds_in(tmp_path: Path) -> None:
    """From data set to bank without a language model: no such step, words for every code, a new user's record."""
    dataset = easy_set(tmp_path / "data", users=120, split="users")
    config = load_config("quick", settings=["method=counts", "infer.activity=8", "fit.epochs=2"], environment={})
    assert steps_of(config) == ["infer", "quantize", "fit", "export"]
    for step in steps_of(config):
        run_step(step, dataset, tmp_path / "run", config, 0)
    assert not (tmp_path / "run" / "language").exists()
    manifest = read_manifest(tmp_path / "run" / "release")
    assert manifest.method["name"] == "counts"
    said = {facet.name: [code.description[0] for code in facet.codes] for facet in manifest.facets}
    assert {name: len(texts) for name, texts in said.items()} == {"activity": 8, "generosity": 16, "warmth": 16}
    assert all("interactions" in text for text in said["activity"])
    assert all("others" in text for text in said["generosity"])
    bank = open_bank(f"lmdb://{tmp_path}/bank")
    try:
        publish_release(tmp_path / "run" / "release", bank)
        item = dataset.items["item_id"][0]
        (tmp_path / "new.csv").write_text(f"user_id,item_id,rating\nnew,{item},5\n")
        assert fold_in_file(tmp_path / "run", tmp_path / "new.csv", f"lmdb://{tmp_path}/bank", None) == 1
        assert bank.get_many(manifest.release, ["new"])[0] is not None
    finally:
        bank.close()
