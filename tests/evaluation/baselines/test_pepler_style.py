"""PEPLER-style: prompts that predict clicks, shaped by the text of the items."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.evaluation.baselines.conftest import Toy
from tests.training.margins import CHANCE, Auc
from tests.training.toy import ceiling
from userip.evaluation.baselines.pepler_style import PeplerConfig, PeplerStyle, TextLoss, fit_pepler_style, id_rows
from userip.evaluation.baselines.tuned_lm import TunedLM, seeded
from userip.training.errors import SplitMismatchError
from userip.training.language.item_texts import item_strings
from userip.training.recommender.metrics import auc

QUICK = PeplerConfig(batch=128, prompt_epochs=8, tuned_epochs=1, text_rows=4, lr=3e-2, dropout=0.2)
HASTY = PeplerConfig(batch=512, prompt_epochs=1, tuned_epochs=1, text_rows=4)


def _fit(toy: Toy, settings: PeplerConfig, seed: int = 0, **other: Any) -> PeplerStyle:  # noqa: ANN401
    given: dict[str, Any] = {"dataset": toy.dataset, "run": toy.run, "config": toy.config} | other
    return fit_pepler_style(**given, seed=seed, settings=settings)


def test_it_learns_planted_tastes(toy: Toy) -> None:
    """Users of one taste like items of one kind: it comes within three standard errors of who knows that."""
    fitted = _fit(toy, QUICK)
    assert toy.dataset.test_reads == 0, "fitting must not read test rows"
    test = toy.dataset.final_eval()
    found = Auc.of(test["label"], auc(test["label"], fitted.predict(test.drop("label", "rating"))))
    assert found.beats(CHANCE)
    assert not ceiling(test).beats(found)


def test_a_user_never_met_is_the_mean_of_those_who_were(toy: Toy) -> None:
    """Two strangers get the same answer: that of the mean vectors and biases, by hand."""
    fitted = _fit(toy, HASTY)
    pairs = pl.DataFrame({"user_id": ["nobody", "no one"], "item_id": ["i3", "i3"]})
    said = fitted.predict(pairs)
    state = {name: value.double().numpy() for name, value in fitted.network.state_dict().items()}
    item = fitted.items.index("i3") + 1
    logit = (
        state["vectors.0.weight"][1:].mean(axis=0) @ state["vectors.1.weight"][item]
        + state["biases.0.weight"][1:].mean()
        + state["biases.1.weight"][item, 0]
        + state["bias"]
    )
    np.testing.assert_allclose(said, 1 / (1 + np.exp(-logit)), rtol=1e-5)


def test_ids_become_places_from_one_on() -> None:
    """Zero for whoever is not in the lists."""
    pairs = pl.DataFrame({"user_id": ["b", "x", "a"], "item_id": ["q", "p", "y"]})
    assert id_rows(pairs, ["a", "b"], ["p", "q"]).tolist() == [[2, 2], [0, 1], [1, 0]]


def test_the_text_is_the_items_behind_both_vectors(toy: Toy) -> None:
    """Nats per token of title and attributes behind [BOS] u i, against the model run plainly on each row alone."""
    model = TunedLM.open(toy.dataset, toy.run, toy.config)
    train = toy.dataset.rows("train")
    teller = TextLoss(model, train, PeplerConfig(text_stride=1))
    rows = np.array([0, 7, 31])
    prompts = 0.3 * torch.randn(3, 2, model.lm.width, generator=torch.Generator().manual_seed(2))
    nats, count = 0.0, 0
    for place, row in enumerate(rows.tolist()):
        item = toy.dataset.items.filter(pl.col("item_id") == train["item_id"][row])
        text = model.lm.encode(item_strings(item, toy.dataset.info.attributes)[0])
        text = text[: model.reader.history.item_tokens]
        words = model.lm.embed(torch.tensor([model.lm.bos, *text]))
        whole = torch.cat([words[:1], prompts[place], words[1:]])[None]
        said = model.lm.model(inputs_embeds=whole).logits[0].log_softmax(dim=-1)
        nats -= sum(float(said[2 + k, token]) for k, token in enumerate(text))
        count += len(text)
    assert float(teller(prompts, rows, turn=0)) == pytest.approx(nats / count, rel=1e-4)


def test_the_text_shapes_the_vectors(toy: Toy) -> None:
    """Its weight changes what is predicted."""
    pairs = toy.dataset.test_pairs()
    silent, told = (_fit(toy, HASTY.model_copy(update={"text_weight": weight})).predict(pairs) for weight in (0.0, 1.0))
    assert not np.array_equal(silent, told)


def test_the_second_stage_teaches_the_model_the_texts(toy: Toy) -> None:
    """At one rate, a text of ten words is soon known by a model that may learn, and not told by two vectors alone."""
    eager = HASTY.model_copy(update={"text_weight": 1.0, "lr": 1e-2, "tuned_lr": 1e-2, "batch": 128, "patience": 9})
    frozen = _fit(toy, eager.model_copy(update={"prompt_epochs": 3, "tuned_epochs": 0})).log
    tuned = _fit(toy, eager.model_copy(update={"prompt_epochs": 1, "tuned_epochs": 2})).log
    assert frozen[0].loss == tuned[0].loss
    assert len(frozen) == len(tuned) == 3
    assert tuned[-1].loss < frozen[-1].loss - 0.5


def test_only_train_labels_reach_the_vectors(toy: Toy, tmp_path: Path) -> None:
    """Test labels turned round change nothing; validation labels choose the epoch, and are nowhere else.

    With a single epoch there is no choice, so that turned validation labels change nothing either.
    """
    once = HASTY.model_copy(update={"tuned_epochs": 0})
    pairs = toy.dataset.test_pairs()
    plain = _fit(toy, once).predict(pairs)
    for part in ("test", "valid"):
        turned = toy.with_labels_turned(part, tmp_path / part)
        assert np.array_equal(_fit(toy, once, dataset=turned).predict(pairs), plain), part
    turned = toy.with_labels_turned("train", tmp_path / "train")
    assert not np.array_equal(_fit(toy, once, dataset=turned).predict(pairs), plain)


def test_the_same_seed_gives_the_same_bytes(toy: Toy) -> None:
    """And leaves the global generator and the run's language model as they were."""
    pairs = toy.dataset.test_pairs()
    weights = (toy.run / "language" / "model.safetensors").read_bytes()
    torch.manual_seed(1)
    first = _fit(toy, HASTY, seed=3).predict(pairs)
    state = torch.get_rng_state()
    assert np.array_equal(_fit(toy, HASTY, seed=3).predict(pairs), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not np.array_equal(_fit(toy, HASTY, seed=4).predict(pairs), first)
    assert (toy.run / "language" / "model.safetensors").read_bytes() == weights


def test_the_run_of_another_split_is_refused(toy: Toy, cold: Toy) -> None:
    """Its language model has read rows that are held out here."""
    with pytest.raises(SplitMismatchError, match="userip train-lm"):
        _fit(toy, HASTY, run=cold.run)


def test_a_seeded_block_leaves_the_generator_alone() -> None:
    """Draws inside depend on the seed alone, and draws behind it do not know of it."""
    torch.manual_seed(5)
    undisturbed = torch.rand(3)
    torch.manual_seed(5)
    with seeded(1):
        first = torch.rand(2)
    assert torch.equal(torch.rand(3), undisturbed)
    with seeded(1):
        assert torch.equal(torch.rand(2), first)
