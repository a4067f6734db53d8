"""Batches of prompt and history, against the same laid out with loops over lists."""

import numpy as np
import pytest
import torch

from tests.training.tiny_language import WIDTH, frozen_lm, histories, random_histories, reader_of, soft_prompts
from userip.training.errors import ConfigError
from userip.training.language.sequences import GRAIN, batches, put_in_slots, token_lengths


@pytest.mark.parametrize("factorised", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_batch_is_what_loops_lay_out(factorised: bool, seed: int) -> None:
    """Tokens, targets, weights and the states that predict them, for random histories with empty ones among them."""
    reader = reader_of(frozen_lm("gpt2"), factorised=factorised)
    some = random_histories(5, 6, seed)
    batch, prompt, texts = reader.batch(some), reader.prompt.tokens.tolist(), reader.texts
    P, L = len(prompt), batch.tokens.shape[1]
    expected = []
    for user in range(5):
        line = list(prompt)
        for n in range(int(some.offsets[user]), int(some.offsets[user + 1])):
            side, item = int(some.liked[n]), int(some.items[n])
            for k in range(int(texts.length[side, item])):
                source = P - 1 if k == 0 and factorised else len(line) - 1
                token = int(texts.tokens[side, item, k])
                weight, polar = float(texts.weight[side, item, k]), bool(texts.polar[side, item, k])
                expected.append((user * L + source, token, weight, polar, user, n))
                line.append(token)
        assert batch.tokens[user].tolist() == line + [0] * (L - len(line))
    fields = (batch.source, batch.target, batch.weight, batch.polar, batch.row, batch.interaction)
    assert list(zip(*(field.tolist() for field in fields), strict=True)) == expected


def test_no_history_at_all_is_the_prompt() -> None:
    """A batch of users without history holds the prompt and predicts nothing."""
    reader = reader_of(frozen_lm("gpt2"))
    batch = reader.batch(histories([], []))
    length = len(reader.prompt.tokens)
    assert batch.tokens.shape == (2, -(-length // GRAIN) * GRAIN)
    assert not batch.allow[:, :, length:].any()  # what is behind the prompt is padding, seen by nobody
    assert len(batch.target) == 0


def test_lengths_count_the_side_that_was_taken() -> None:
    """Tokens of a history: those of the texts with the polarity at hand."""
    reader = reader_of(frozen_lm("gpt2"))
    some = histories([0, ~1], [], [5])
    length = reader.texts.length
    assert token_lengths(some, reader.texts).tolist() == [length[1, 0] + length[0, 1], 0, length[1, 5]]


@pytest.mark.parametrize("soft_tokens", [1, 3])
def test_soft_tokens_go_into_their_slots(soft_tokens: int) -> None:
    """z_j,k replaces the embedding at slot (j, k) and nothing else; the gradient of those places is z's."""
    reader = reader_of(frozen_lm("gpt2"), soft_tokens=soft_tokens)
    words = torch.randn(2, 40, WIDTH)
    z = soft_prompts(2, soft_tokens=soft_tokens).requires_grad_(True)
    put = put_in_slots(words, reader.prompt, z)
    slots = set(reader.prompt.slots.flatten().tolist())
    for j in range(2):
        for k in range(soft_tokens):
            assert torch.equal(put[:, int(reader.prompt.slots[j, k])], z[:, j, k])
    others = [column for column in range(40) if column not in slots]
    assert torch.equal(put[:, others], words[:, others])
    (gradient,) = torch.autograd.grad((put * words).sum(), z)
    assert torch.equal(gradient.flatten(1, 2), words[:, reader.prompt.slots.flatten()])


@pytest.mark.parametrize("seed", range(4))
def test_batches_hold_everybody_once_and_stay_small(seed: int) -> None:
    """A partition, shortest first, each padded to at most `max_tokens` unless one user alone is longer."""
    lengths = np.random.default_rng(seed).integers(0, 90, size=50)
    groups = batches(lengths, 20, 300)
    assert sorted(np.concatenate(groups).tolist()) == list(range(50))
    assert np.concatenate(groups).tolist() == np.argsort(lengths, kind="stable").tolist()
    assert all(len(group) == 1 or len(group) * (20 + lengths[group].max()) <= 300 for group in groups)
    assert batches(lengths[:0], 20, 300) == []


def test_a_user_who_is_too_long_stands_alone() -> None:
    """One history over the limit is a batch of its own, not lost and not an endless loop."""
    assert [group.tolist() for group in batches(np.array([5, 900, 5]), 10, 32)] == [[0, 2], [1]]


def test_histories_longer_than_the_model_fit_when_factorised() -> None:
    """Positions start anew with every item: a model of 64 positions reads 12 items behind a prompt of some 20."""
    lm = frozen_lm("gpt2", positions=64)
    reader = reader_of(lm)
    reader.check_fits(lm.longest)
    batch = reader.batch(histories(list(range(12))))
    assert batch.tokens.shape[1] > 64
    assert int(batch.position.max()) < 64
    z = put_in_slots(lm.embed(batch.tokens), reader.prompt, soft_prompts(1))
    assert torch.isfinite(lm.hidden(z, batch.mask(torch.float32), batch.position)).all()


def test_a_sequence_that_cannot_fit_is_refused() -> None:
    """The message names the setting, what is needed and what there is."""
    lm = frozen_lm("gpt2", positions=64)
    with pytest.raises(ConfigError, match=r"history\.item_tokens=16: .* the language model has 64"):
        reader_of(lm, factorised=False).check_fits(lm.longest)


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_title_tokens_take_turns(stride: int) -> None:
    """Over `stride` turns every title token is scored once, `stride` times as heavily; polarity in every turn."""
    reader = reader_of(frozen_lm("gpt2"))
    whole = reader.batch(random_histories(4, 6, 1, shortest=2))
    turns = [whole.every(stride, turn) for turn in range(stride)]
    key = torch.stack([whole.source, whole.interaction], dim=1).tolist()
    total = dict.fromkeys(map(tuple, key), 0.0)
    for batch in turns:
        assert int(batch.polar.sum()) == int(whole.polar.sum())
        for source, interaction, weight in zip(
            batch.source.tolist(), batch.interaction.tolist(), batch.weight.tolist(), strict=True
        ):
            total[source, interaction] += weight / stride
    assert list(total.values()) == pytest.approx(whole.weight.tolist())
    assert whole.every(1, 0) is whole


def test_whose_turn_it_is_depends_on_the_item_alone() -> None:
    """The same item has the same tokens scored for every user, whatever stands beside or before it."""
    reader = reader_of(frozen_lm("gpt2"))
    batch = reader.batch(histories([0, 5, ~3], [~3, 7, 5])).every(3, 1)
    one, two = (batch.target[batch.interaction == n].tolist() for n in (1, 5))
    assert one == two
    one, two = (batch.target[batch.interaction == n].tolist() for n in (2, 3))
    assert one == two


def test_batches_come_in_few_shapes() -> None:
    """Users of any lengths: within every padded width, all batches but the last hold the same number of users."""
    lengths = np.random.default_rng(0).integers(0, 300, 4000)
    groups = batches(lengths, 20, 2000)
    counts: dict[int, list[int]] = {}
    for group in groups:
        width = -(-(20 + int(lengths[group].max())) // GRAIN) * GRAIN
        assert len(group) * width <= 2000
        counts.setdefault(width, []).append(len(group))
    assert sum(map(len, groups)) == len(lengths)
    assert len(counts) <= 20
    for width, sizes in counts.items():
        assert sizes[1:-1] == [2000 // width] * len(sizes[1:-1])
