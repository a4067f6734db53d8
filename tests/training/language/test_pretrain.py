"""Training the small language model: it learns, it learns the slots, and it does the same every time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from tests.training.tiny_language import ATTRIBUTES, FACETS, catalogue, histories, tokenizer
from userip.training.crossfit.histories import Histories
from userip.training.language.checkpoint import Checkpoint
from userip.training.language.config import HistoryConfig, LanguageConfig
from userip.training.language.frozen import FrozenLM
from userip.training.language.language import Language
from userip.training.language.pretrain import new_model, pretrain, probe_users, split_nats
from userip.training.language.prompt_builder import PromptBuilder
from userip.training.language.slot_initializer import SlotInitializer
from userip.training.language.step import held_out

CONFIG = LanguageConfig(layers=2, width=32, heads=2, vocabulary=420, steps=40, users=16, items=4, lr=5e-3)


def _train(users: int = 60, seed: int = 0) -> Histories:
    """User n likes the items of the kind n mod 3 and dislikes the others."""
    draw = np.random.default_rng(seed)
    lists = [[int(i) if i % 3 == n % 3 else ~int(i) for i in draw.permutation(12)[:8]] for n in range(users)]
    return histories(*lists)


def _encode(text: str) -> list[int]:
    return list(tokenizer()(text, add_special_tokens=False)["input_ids"])


def _fit(
    config: LanguageConfig = CONFIG, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[GPT2LMHeadModel, PromptBuilder, SlotInitializer, list[float]]:
    reader = PromptBuilder(catalogue(), ATTRIBUTES, _encode, 0, FACETS, HistoryConfig())
    fillers = SlotInitializer.fit(FACETS, catalogue(), ATTRIBUTES, _encode, _train())
    model = new_model(config, tokenizer(), seed)
    return model, reader, fillers, pretrain(model, reader, fillers, _train(), config, seed, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_falls(dtype: torch.dtype) -> None:
    """From the nats of a model that knows nothing to well below, in either precision."""
    model, reader, _, losses = _fit(dtype=dtype)
    tokens = float(reader.texts.length.mean()) + 2.0  # the polarity token counts three times
    assert losses[0] == pytest.approx(tokens * np.log(len(tokenizer())), rel=0.15)
    assert np.mean(losses[-5:]) < 0.6 * losses[0]
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.slow
def test_the_slots_are_read() -> None:
    """With the user's own words in the slots, held-out likes are predicted better than with another user's."""
    model, reader, fillers, _ = _fit(CONFIG.model_copy(update={"steps": 600, "lr": 1e-2}))
    lm = FrozenLM.of(model, tokenizer())
    users = _train(30, seed=9)
    ranks = users.ranks(np.random.default_rng(0))
    known, target = users.keep(ranks < 4), users.keep(ranks >= 4)
    slots = fillers.slots(known, lm.table)
    other = slots[(torch.arange(30) + 1) % 30]  # the neighbour likes another kind
    language = Language(lm, reader, fillers)
    own, wrong = (held_out(language, target, z[:, :, None]) for z in (slots, other))
    assert own.polarity < 0.93 * np.log(2)
    assert wrong.polarity > own.polarity + 0.3


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    """Two trainings with one seed end in identical files, another seed in others."""
    config = CONFIG.model_copy(update={"steps": 6})
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        _fit(config, seed)[0].save_pretrained(tmp_path / name)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_nats_are_parted_by_title_and_polarity() -> None:
    """Mean over items, by hand: tokens of one item count together."""
    reader = PromptBuilder(catalogue(), ATTRIBUTES, _encode, 0, FACETS, HistoryConfig())
    batch = reader.batch(histories([0, ~4], [7]))
    nats = split_nats(batch, torch.where(batch.polar, 6.0, 0.5))
    assert nats.polarity == pytest.approx(6.0)
    assert nats.title == pytest.approx(0.5 * int((~batch.polar).sum()) / 3)
    assert nats.item == pytest.approx(nats.title + nats.polarity)
    assert split_nats(reader.batch(histories([])), torch.zeros(0)).item == 0.0


@pytest.mark.parametrize(("users", "expected"), [(3, 0), (40, 10), (200, 32), (5000, 100), (40_000, 512)])
def test_probe_users_are_few(users: int, expected: int) -> None:
    """2 % of those with four interactions, 32 to 512, but never more than a quarter of them."""
    train = Histories(
        np.arange(users + 1) * 4, np.zeros(users * 4, dtype=np.int64), np.zeros(users * 4, dtype=np.bool_)
    )
    chosen = probe_users(train, 0)
    assert len(chosen) == len(set(chosen.tolist())) == expected
    assert chosen.tolist() == sorted(probe_users(train, 0).tolist())
    short = replace(train, offsets=np.concatenate([[0, 0], train.offsets[2:]]))  # user 0 has nothing
    assert 0 not in probe_users(short, 0)


def test_tiny_histories_still_train() -> None:
    """One interaction per user: the slots are empty, the text is that one interaction, and steps are finite."""
    reader = PromptBuilder(catalogue(), ATTRIBUTES, _encode, 0, FACETS, HistoryConfig())
    train = histories([3], [~5], [])
    fillers = SlotInitializer.fit(FACETS, catalogue(), ATTRIBUTES, _encode, train)
    config = CONFIG.model_copy(update={"steps": 3})
    losses = pretrain(new_model(config, tokenizer(), 0), reader, fillers, train, config, 0, torch.float32)
    assert np.isfinite(losses).all()


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between two checkpoints and started again, it ends with the weights of an unbroken training."""
    monkeypatch.setattr("userip.training.language.checkpoint.EVERY", 4)
    config = CONFIG.model_copy(update={"steps": 10})
    unbroken, reader, fillers, expected = _fit(config)
    file = tmp_path / "checkpoint.safetensors"
    save = Checkpoint.save

    def save_and_die(self: Checkpoint, losses: list[float]) -> None:
        save(self, losses)
        if len(losses) == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        pretrain(new_model(config, tokenizer(), 0), reader, fillers, _train(), config, 0, torch.float32, file)
    monkeypatch.setattr(Checkpoint, "save", save)
    resumed = new_model(config, tokenizer(), 1)  # other weights: all have to come from the checkpoint
    assert pretrain(resumed, reader, fillers, _train(), config, 0, torch.float32, file) == expected
    for name, weight in unbroken.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
