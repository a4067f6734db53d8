"""ReLLa-style: similar past items in words, and a model tuned to say liked or disliked."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.evaluation.baselines.conftest import Toy
from tests.training.margins import CHANCE, Auc
from userip.evaluation.baselines.liking_prompts import LikingPrompts
from userip.evaluation.baselines.rella_style import RellaConfig, RellaStyle, fit_rella_style
from userip.evaluation.baselines.retrieval import Interactions, item_vectors, most_similar
from userip.evaluation.baselines.tuned_lm import TunedLM
from userip.training.crossfit.folds import fold_of_rows
from userip.training.errors import ConfigError
from userip.training.language.item_texts import item_strings
from userip.training.recommender.metrics import auc

# Cut to three tokens, a title is its kind: what is asked is whether likings are read, not how well words are.
QUICK = RellaConfig(past_items=4, past_tokens=3, target_tokens=3, batch=32, lr=3e-3, epochs=3, checks=6)
HASTY = RellaConfig(past_items=2, past_tokens=4, target_tokens=4, train_rows=128, checks=1)


def _fit(toy: Toy, settings: RellaConfig, seed: int = 0, **other: Any) -> RellaStyle:  # noqa: ANN401
    given: dict[str, Any] = {"dataset": toy.dataset, "run": toy.run, "config": toy.config} | other
    return fit_rella_style(**given, seed=seed, settings=settings)


@pytest.fixture(scope="module")
def model(toy: Toy) -> TunedLM:
    return TunedLM.open(toy.dataset, toy.run, toy.config)


def test_held_out_users_are_served_from_their_history(cold: Toy) -> None:
    """Planted tastes reach users that no training has met; without a history there is nothing to know."""
    fitted = _fit(cold, QUICK)
    assert cold.dataset.test_reads == 0, "fitting must not read test rows"
    test = cold.dataset.final_eval()
    stranger = test.with_columns(user_id=pl.lit("nobody"))
    known, unknown = (
        Auc.of(test["label"], auc(test["label"], fitted.predict(pairs.drop("label", "rating"))))
        for pairs in (test, stranger)
    )
    assert known.beats(unknown)
    assert not unknown.beats(CHANCE)


def test_the_most_similar_are_found(model: TunedLM) -> None:
    """Against a loop over all pairs: own user, other item, other fold, highest cosine, latest of equals."""
    draw = np.random.default_rng(4)
    vectors = np.round(draw.normal(size=(9, 3)), 1)
    vectors[5] = vectors[2]  # a tie
    past = Interactions(
        np.sort(draw.integers(0, 6, 60)), draw.integers(0, 9, 60), draw.random(60) < 0.5, draw.integers(-1, 3, 60)
    )
    targets = Interactions(
        draw.integers(-1, 8, 40), draw.integers(0, 9, 40), np.zeros(40, dtype=np.bool_), draw.integers(-1, 3, 40)
    )
    found = most_similar(targets, past, vectors, 4)
    for row in range(40):
        able = [
            (float(vectors[past.item[p]] @ vectors[targets.item[row]]), p)
            for p in range(60)
            if past.user[p] == targets.user[row]
            and past.item[p] != targets.item[row]
            and not (targets.fold[row] >= 0 and past.fold[p] == targets.fold[row])
        ]
        wanted = [p for _, p in sorted(able)][-4:]
        assert found[row].tolist() == [-1] * (4 - len(wanted)) + wanted


def test_item_vectors_are_the_models_states_reduced(toy: Toy, model: TunedLM) -> None:
    """With all components kept, products equal the cosines of centred mean states, of each text read alone."""
    pooled = []
    for line in item_strings(toy.dataset.items, toy.dataset.info.attributes):
        tokens = [model.lm.bos, *model.lm.encode(line)[:6]]
        states = model.lm.model.base_model(torch.tensor([tokens])).last_hidden_state[0, 1:]
        pooled.append(states.detach().double().mean(dim=0).numpy())
    centred = np.array(pooled) - np.mean(pooled, axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    vectors = item_vectors(model, item_tokens=6, components=model.lm.width)
    np.testing.assert_allclose(vectors[:-1] @ vectors[:-1].T, unit @ unit.T, atol=1e-4)
    assert not vectors[-1].any(), "an item that is not in the catalogue is like none"


def test_the_prompt_reads_as_it_should(toy: Toy, model: TunedLM) -> None:
    """Task, past items with what was said of them, and the item at hand up to its colon."""
    prompts = LikingPrompts.of(model, past_tokens=3, target_tokens=4)
    lines = item_strings(toy.dataset.items, toy.dataset.info.attributes)
    past = Interactions(np.zeros(2, int), np.array([4, 7]), np.array([True, False]), np.zeros(2, int))
    unknown = len(lines)
    batch = prompts.batch(np.array([11, unknown]), past, np.array([[1, 0], [-1, 1]]))

    def cut(item: int, count: int) -> str:
        return str(model.lm.tokenizer.decode(model.lm.encode(lines[item])[:count]))

    task = "<bos>" + model.reader.history.task
    wanted = [
        f"{task}{cut(7, 3)}: disliked{cut(4, 3)}: liked{cut(11, 4)}:",
        f"{task}{cut(7, 3)}: disliked:",
    ]
    for row in range(2):
        ids = batch.tokens[row, : int(batch.last[row]) + 1]
        assert model.lm.tokenizer.decode(ids) == wanted[row]
        assert not batch.tokens[row, int(batch.last[row]) + 1 :].any()
    lengths = prompts.lengths(np.array([11, unknown]), past, np.array([[1, 0], [-1, 1]]))
    assert lengths.tolist() == (batch.last + 1).tolist()
    assert model.lm.tokenizer.decode([prompts.liked]) == " liked"
    assert model.lm.tokenizer.decode([prompts.disliked]) == " disliked"


def test_the_answer_is_a_choice_between_two_words(toy: Toy, model: TunedLM) -> None:
    """The softmax over the two words' logits, of every prompt read alone and without padding."""
    fitted = _fit(toy, HASTY)
    targets = fitted.read(toy.dataset.test_pairs().head(12), labelled=False)
    said = fitted.probabilities(targets)
    batch = fitted.prompts.batch(targets.item, fitted.past, fitted.found(targets))
    for row in range(12):
        ids = batch.tokens[row, : int(batch.last[row]) + 1][None]
        logits = fitted.model.lm.model(ids).logits[0, -1]
        pair = logits[[fitted.prompts.disliked, fitted.prompts.liked]].softmax(dim=0)
        assert said[row] == pytest.approx(float(pair[1]), abs=1e-5)


def test_a_train_row_cannot_see_its_own_label(toy: Toy, tmp_path: Path) -> None:
    """Turn one train row's label round: its own prompt stays as it is, also when it is asked for at serving, and
    so do those of its fold; prompts that quote it change."""
    fitted, rows = _fit(toy, HASTY), toy.dataset.rows("train")
    folds = fold_of_rows(rows, HASTY.folds, 0).cast(pl.Int64).to_numpy()
    read = fitted.read(rows, labelled=True)
    training = Interactions(read.user, read.item, read.liked, folds)
    serving = fitted.read(rows, labelled=False)
    whom = fitted.found(training)
    often = np.bincount(whom[whom >= 0], minlength=rows.height).argsort(kind="stable")
    for turned in often[-3:].tolist():
        liked = fitted.past.liked.copy()
        liked[turned] ^= True
        other = Interactions(fitted.past.user, fitted.past.item, liked, fitted.past.fold)
        for targets in (training, serving):
            found = fitted.found(targets)
            before = fitted.prompts.batch(targets.item, fitted.past, found)
            after = fitted.prompts.batch(targets.item, other, found)
            changed = (before.tokens != after.tokens).any(dim=1).numpy()
            quoted = (found == turned).any(axis=1)
            assert np.array_equal(changed, quoted)
            assert quoted.any(), "nobody quotes the row: the test would pass for any prompt"
            assert not quoted[turned]
            same_fold = (folds == folds[turned]) & (read.user == read.user[turned])
            assert targets is serving or not quoted[same_fold].any()


def test_only_train_and_history_labels_reach_the_prompts(cold: Toy, tmp_path: Path) -> None:
    """Test labels turned round change nothing; with one check, neither do validation labels. History labels do."""
    pairs = cold.dataset.test_pairs()
    plain = _fit(cold, HASTY).predict(pairs)
    for part in ("test", "valid"):
        turned = cold.with_labels_turned(part, tmp_path / part)
        assert np.array_equal(_fit(cold, HASTY, dataset=turned).predict(pairs), plain), part
    turned = cold.with_labels_turned("history", tmp_path / "history")
    fitted = _fit(cold, HASTY, dataset=turned)
    assert not np.array_equal(fitted.predict(pairs), plain)
    first = next(iter(fitted.model.lm.model.parameters()))
    again = next(iter(_fit(cold, HASTY).model.lm.model.parameters()))
    assert torch.equal(first, again), "held-out users have shaped the model"


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


def test_a_prompt_that_does_not_fit_is_refused(toy: Toy) -> None:
    """Before any training, with the setting to lower."""
    with pytest.raises(ConfigError, match=r"past_items=60.*lower it"):
        _fit(toy, HASTY.model_copy(update={"past_items": 60}))
