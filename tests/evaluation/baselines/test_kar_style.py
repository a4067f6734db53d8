"""KAR-style learns from texts, serves users by their text alone, and its graphs say what it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from tests.evaluation.baselines.tiny_encoder import save_encoder
from tests.training.margins import CHANCE, Auc
from tests.training.toy import FIELDS, ceiling, toy_dataset
from userip.evaluation.baselines.kar_style import FittedKar, KarConfig, fit_kar_style, kar_vectors
from userip.evaluation.baselines.text_vectors import TextVectors
from userip.models.recommenders.kar_graph import kar_online_onnx, kar_prestored_onnx, prestored_users
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError
from userip.training.export.tables import roles_of
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.fit import FieldDropout
from userip.training.recommender.metrics import auc

QUICK = RecommenderConfig(codes="none", batch=128, lr=5e-3, epochs=12, dropout=0.2)
FEW = QUICK.model_copy(update={"epochs": 2})


@pytest.fixture(scope="module")
def kar(tmp_path_factory: pytest.TempPathFactory) -> KarConfig:
    folder = save_encoder(tmp_path_factory.mktemp("encoder"))
    return KarConfig(encoder=str(folder), dtype="float32", max_tokens=96, hidden=16, out=8, dedicated=2)


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "users", split="users", fields=FIELDS)


@pytest.fixture(scope="module")
def vectors(cold: Dataset, kar: KarConfig, tmp_path_factory: pytest.TempPathFactory) -> TextVectors:
    return kar_vectors(cold, tmp_path_factory.mktemp("vectors"), kar)


@pytest.fixture(scope="module")
def fitted(cold: Dataset, kar: KarConfig, vectors: TextVectors) -> FittedKar:
    return fit_kar_style(cold, Path("unused"), FEW, 0, kar=kar, vectors=vectors)


def _bytes(model: torch.nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


def _planted(vectors: TextVectors, *, shuffled: bool = False) -> TextVectors:
    """The same lines with vectors that know taste and kind, in noise; shuffled, with those of anybody."""
    rng = np.random.default_rng(0)
    users = np.zeros_like(vectors.users)
    tastes = np.array([int(user[1:]) % 3 for user in vectors.user_rows["user_id"]])
    users[vectors.user_rows["row"].to_numpy(), rng.permutation(tastes) if shuffled else tastes] = 2
    items = np.zeros_like(vectors.items)
    items[np.arange(1, len(items)), [int(item[1:]) % 3 for item in vectors.item_ids]] = 2
    noise = [0.2 * rng.standard_normal(table.shape).astype(np.float32) for table in (users, items)]
    return replace(vectors, users=users + noise[0], items=items + noise[1])


def test_texts_carry_taste_to_users_never_trained_on(cold: Dataset, kar: KarConfig, vectors: TextVectors) -> None:
    """Held-out users, known by the vector of their history alone; other users' vectors say nothing of them."""
    config = QUICK.model_copy(update={"user_field": False})
    test = cold.final_eval()
    aucs = {}
    for shuffled in (False, True):
        planted = _planted(vectors, shuffled=shuffled)
        fitted = fit_kar_style(cold, Path("unused"), config, 0, kar=kar, vectors=planted)
        assert fitted.encoder.positions("user_row") == ()
        aucs[shuffled] = Auc.of(test["label"], auc(test["label"].to_numpy(), fitted.predict(test)))
    assert not ceiling(test).beats(aucs[False])
    assert aucs[False].beats(aucs[True])
    assert not aucs[True].beats(CHANCE)


def test_an_unseen_user_has_no_row_but_a_text(cold: Dataset, fitted: FittedKar) -> None:
    """With a user field too: row 0 there, the text of the history beside it; and the text moves the answer."""
    test = cold.test_pairs()
    rows = fitted.rows(test)
    assert not rows[:, fitted.encoder.positions("user_row")].any()
    assert (rows[:, -2] > 0).all()
    hidden = torch.from_numpy(rows.copy())
    hidden[:, -2] = 0
    with torch.no_grad():
        assert (torch.sigmoid(fitted.model(hidden)).numpy() != fitted.predict(test)).any()


def test_the_same_seed_gives_the_same_bytes(
    cold: Dataset, kar: KarConfig, vectors: TextVectors, fitted: FittedKar
) -> None:
    """Bit for bit, whatever the global generator is; another seed gives other weights."""
    torch.manual_seed(1)
    again = fit_kar_style(cold, Path("unused"), FEW, 0, kar=kar, vectors=vectors)
    other = fit_kar_style(cold, Path("unused"), FEW, 1, kar=kar, vectors=vectors)
    assert _bytes(again.model) == _bytes(fitted.model) != _bytes(other.model)
    assert cold.test_reads <= 1, "fitting must not read test rows"


def test_the_adaptor_has_its_own_rate(cold: Dataset, kar: KarConfig, vectors: TextVectors) -> None:
    """With a rate of next to nothing the adaptor stays where it began, while the fields move."""
    still = kar.model_copy(update={"lr": 1e-12})
    config = FEW.model_copy(update={"epochs": 1})
    models = {
        name: fit_kar_style(cold, Path("unused"), config, 0, kar=setting, vectors=vectors).model
        for name, setting in (("still", still), ("moved", kar))
    }
    resting = fit_kar_style(
        cold, Path("unused"), config.model_copy(update={"lr": 1e-12}), 0, kar=still, vectors=vectors
    ).model
    for name, value in resting.adaptor.named_parameters():
        torch.testing.assert_close(models["still"].adaptor.get_parameter(name), value, rtol=0, atol=1e-6)
        assert (models["moved"].adaptor.get_parameter(name) - value).abs().max() > 1e-3
    assert (models["still"].embedding.weight - resting.embedding.weight).abs().max() > 1e-3


def test_texts_hide_with_what_they_speak_of(fitted: FittedKar) -> None:
    """A stranger has no text, a user folded in later has; an unknown item has none. Nothing else is touched."""
    rows = torch.ones(4000, len(fitted.encoder.fields) + 2, dtype=torch.int64)
    user, item = fitted.encoder.positions("user_row")[0], fitted.encoder.positions("item_row")[0]
    torch.manual_seed(0)
    none = {"id_dropout": 0.0, "profile_dropout": 0.0, "item_dropout": 0.0}

    def hidden(**shares: float) -> torch.Tensor:
        return FieldDropout(fitted.encoder, QUICK.model_copy(update={**none, **shares}), ("user", "item"))(rows) == 0

    assert not hidden().any()
    later = hidden(id_dropout=0.3)
    assert later[:, user].float().mean() == pytest.approx(0.3, abs=0.03)
    assert not later[:, -2:].any()
    stranger = hidden(profile_dropout=0.3)
    assert stranger[:, -2].float().mean() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(stranger[:, -2], stranger[:, user])
    assert not stranger[:, -1].any()
    unknown = hidden(item_dropout=0.3)
    assert torch.equal(unknown[:, -1], unknown[:, item])
    assert unknown[:, item].float().mean() == pytest.approx(0.3, abs=0.03)
    assert not unknown[:, -2].any()


@pytest.mark.parametrize("mode", ["online", "prestored"])
def test_the_graphs_say_what_the_network_says(mode: str, cold: Dataset, fitted: FittedKar) -> None:
    """One request per test row, through the graph of the fitted model, item rows by the order of the catalogue."""
    test = cold.test_pairs().head(200)
    rows, roles = fitted.rows(test), roles_of(fitted.encoder)
    everything = fitted.rows(cold.items.select("item_id").join(test.drop("item_id").head(1), how="cross"))
    everything = np.concatenate([np.zeros_like(everything[:1]), everything])  # line 0 is the unknown item
    catalogue, texts = everything[:, [roles.item, *roles.categories]], everything[:, -1]
    places = {item: row + 1 for row, item in enumerate(cold.items["item_id"])}
    assert roles.user is not None
    feed = {
        "items": np.array([places[item] for item in test["item_id"]]),
        "request": np.arange(test.height),
        "user": rows[:, roles.user],
        "slots": rows[:, list(roles.slots)],
        "context": rows[:, list(roles.context)],
    }
    if mode == "online":
        graph, users = kar_online_onnx(fitted.model, roles, catalogue, texts), fitted.vectors.users
    else:
        graph, users = kar_prestored_onnx(fitted.model, roles, catalogue, texts), prestored_users(fitted.model)
    feed |= {"vector": users[rows[:, -2]], **graph.tables}
    answer = ort.InferenceSession(graph.model, providers=["CPUExecutionProvider"]).run(["probability"], feed)[0]
    np.testing.assert_allclose(answer, fitted.predict(test), rtol=0, atol=1e-5)


def test_settings_that_do_not_fit_are_named(cold: Dataset, kar: KarConfig, vectors: TextVectors) -> None:
    """Codes, which KAR has not, and a single fold, which leaves nothing to write a text from."""
    with pytest.raises(ConfigError, match="codes: 'profile' is not for KAR-style"):
        fit_kar_style(cold, Path("unused"), QUICK.model_copy(update={"codes": "profile"}), 0, kar=kar, vectors=vectors)
    with pytest.raises(ConfigError, match="folds: 1 leaves no other fold"):
        kar_vectors(cold, Path("unused"), kar.model_copy(update={"folds": 1}))
