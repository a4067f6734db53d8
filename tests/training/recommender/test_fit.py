"""The training loop: learns what is planted, nothing from noise, and always the same for a seed."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.margins import CHANCE, Auc
from tests.training.toy import FIELDS, ceiling, toy_codes, toy_dataset
from userip.models.recommenders.layers import FieldNetwork
from userip.training.crossfit.folds import fold_of_rows
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError, EmptyDataError
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.encoder import FieldEncoder
from userip.training.recommender.fit import FittedRecommender, encode_rows, fit_recommender

QUICK = RecommenderConfig(codes="none", batch=128, lr=5e-3, epochs=30)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "random")


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "users", split="users", fields=FIELDS)


def _bytes(fitted: FittedRecommender) -> bytes:
    return b"".join(value.numpy().tobytes() for value in fitted.model.state_dict().values())


def test_it_learns_planted_tastes(dataset: Dataset) -> None:
    """Users of one taste like items of one kind: it comes within three standard errors of who knows that."""
    patient = QUICK.model_copy(update={"epochs": 80, "patience": 20})
    fitted = fit_recommender(dataset, None, patient, seed=0)
    assert dataset.test_reads == 0, "fitting must not read test rows"
    test = dataset.final_eval()
    found = Auc.of(test["label"], fitted.evaluate(test)["auc"])
    assert found.beats(CHANCE)
    assert not ceiling(test).beats(found)


def test_it_learns_nothing_from_coins(tmp_path: Path) -> None:
    """Labels without any cause: the test AUC is one half within three standard errors."""
    noise = toy_dataset(tmp_path / "noise", users=900, items=300, per_user=120, noise=True)
    few = QUICK.model_copy(update={"batch": 2048, "epochs": 6})
    test = noise.final_eval()
    assert test.height > 10_000
    found = Auc.of(test["label"], fit_recommender(noise, None, few, seed=0).evaluate(test)["auc"])
    assert found.value == pytest.approx(0.5, abs=3 * found.error)


def test_the_same_seed_gives_the_same_bytes(dataset: Dataset) -> None:
    """Bit for bit, whatever the global generator and thread count are, which it leaves as they were."""
    few = QUICK.model_copy(update={"epochs": 3})
    torch.manual_seed(1)
    first = fit_recommender(dataset, None, few, seed=4)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    again = fit_recommender(dataset, None, few, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert _bytes(first) == _bytes(again)
    assert _bytes(first) != _bytes(fit_recommender(dataset, None, few, seed=5))


def test_the_best_epoch_is_kept(dataset: Dataset) -> None:
    """Fitting ends `patience` epochs after the best validation AUC, and has the weights of that epoch."""
    fitted = fit_recommender(dataset, None, QUICK.model_copy(update={"patience": 2, "epochs": 50}), seed=0)
    scores = [epoch.auc for epoch in fitted.log]
    best = int(np.argmax(scores))
    assert best < len(scores) - 1, "this fit should over-fit before its last epoch"
    assert len(scores) == best + 1 + 2
    assert fitted.evaluate(dataset.rows("valid"))["auc"] == scores[best]


def test_codes_carry_taste_to_users_never_trained_on(cold: Dataset) -> None:
    """Without a user field, a code serves a user that no training run has met; a control does not."""
    codes = toy_codes(cold)
    test = cold.final_eval()
    aucs = {}
    for kind in ("profile", "none", "constant", "shuffled"):
        config = QUICK.model_copy(update={"codes": kind, "user_field": False})
        aucs[kind] = Auc.of(test["label"], fit_recommender(cold, codes, config, seed=0).evaluate(test)["auc"])
    assert not ceiling(test).beats(aucs["profile"])
    for kind in ("none", "constant", "shuffled"):
        assert aucs["profile"].beats(aucs[kind])
        assert not aucs[kind].beats(CHANCE)


def test_train_rows_take_the_code_made_without_their_fold(cold: Dataset) -> None:
    """A code inferred from a row's own label would leak the label: each train row gets its fold's code."""
    full = toy_codes(cold)
    table = [
        full.frame.with_columns(fold=pl.lit(fold, pl.Int8), hobby=pl.lit(fold + 1, pl.UInt16)) for fold in (-1, 0, 1)
    ]
    codes = CodeTable(pl.concat(table), full.sizes, folds=2, fold_seed=11)
    encoder = FieldEncoder.fit(cold, codes.sizes, user_field=True)
    place = [field.name for field in encoder.fields].index("hobby")
    train = cold.rows("train")
    crossed = encode_rows(train, cold, encoder, codes, cross_fitted=True)[:, place]
    assert (crossed == fold_of_rows(train, 2, 11).to_numpy() + 2).all()
    assert set(crossed) == {2, 3}
    assert set(encode_rows(train, cold, encoder, codes)[:, place]) == {1}
    assert set(encode_rows(cold.rows("valid"), cold, encoder, codes)[:, place]) == {1}


def _unknown_rows(fitted: FittedRecommender) -> torch.Tensor:
    """Row 0 of every field."""
    assert isinstance(fitted.model, FieldNetwork)
    return fitted.model.embedding.weight[fitted.model.offsets].detach()


def test_unknown_rows_are_trained(cold: Dataset) -> None:
    """Id-dropout moves row 0 of every field; without it they stay where they started."""
    codes = toy_codes(cold)
    start = QUICK.model_copy(update={"codes": "profile", "epochs": 1, "weight_decay": 0.0})
    never = start.model_copy(update={"id_dropout": 0.0, "profile_dropout": 0.0, "item_dropout": 0.0})
    often = start.model_copy(update={"item_dropout": 0.2})
    moved = {}
    for name, config in (("never", never), ("often", often)):
        fitted = fit_recommender(cold, codes, config, seed=0)
        moved[name] = _unknown_rows(fitted)
    still = fit_recommender(cold, codes, never.model_copy(update={"lr": 1e-12}), seed=0)
    first = _unknown_rows(still)
    torch.testing.assert_close(moved["never"], first)
    assert ((moved["often"] - first).abs().amax(dim=1) > 1e-3).all()


def test_predictions_follow_the_rows(dataset: Dataset) -> None:
    """Any frame of interactions can be scored, in its order; strangers and unknown items too."""
    fitted = fit_recommender(dataset, None, QUICK.model_copy(update={"epochs": 2}), seed=0)
    rows = dataset.rows("valid")
    scores = fitted.predict(rows)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(fitted.predict(rows.reverse()), scores[::-1], rtol=0, atol=1e-6)
    strangers = rows.with_columns(user_id=pl.lit("nobody"), item_id=pl.lit("nothing"))
    assert len(set(fitted.predict(strangers).tolist())) == 1
    assert fitted.predict(rows.clear()).shape == (0,)


def test_a_last_batch_of_one_row_does_no_harm(dataset: Dataset) -> None:
    """BatchNorm cannot take one row: the remainder of an epoch is left out when it is a single row."""
    n = dataset.rows("train").height
    config = QUICK.model_copy(update={"batch": n - 1, "epochs": 1})
    assert np.isfinite(fit_recommender(dataset, None, config, seed=0).log[0].loss)


def test_what_cannot_be_fitted_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    """Codes asked for but absent; validation rows of one label."""
    with pytest.raises(ConfigError, match="quantize"):
        fit_recommender(dataset, None, RecommenderConfig(), seed=0)
    tiny = toy_dataset(tmp_path / "tiny", users=1, per_user=6)
    with pytest.raises(EmptyDataError, match="rows"):
        fit_recommender(tiny, None, QUICK, seed=0)
