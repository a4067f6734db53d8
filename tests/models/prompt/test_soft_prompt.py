"""The prompt's mask by the rules of docs/method.md#mask, and through real attention layers of two architectures."""

import pytest
import torch
from torch import Tensor

from tests.training.tiny_language import KINDS, frozen_lm, histories, reader_of, soft_prompts
from userip.models.prompt.soft_prompt import PADDING, additive_mask, allowed, build_prompt, positions
from userip.training.language.frozen import FrozenLM
from userip.training.language.prompt_builder import PromptBuilder
from userip.training.language.sequences import Batch, put_in_slots

USERS = histories([0, ~4, 7], [2, 5, ~8, 1, 10], [3])


def _noise(like: Tensor, where: Tensor, seed: int = 0) -> Tensor:
    """Random noise [B, L, d] at the places [B, L], 0 elsewhere: LayerNorm would cancel a constant shift."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=generator).to(like.dtype) * where[:, :, None]


def _blocks(reader: PromptBuilder, batch: Batch) -> Tensor:
    """Block numbers [B, L] of the prompt's part; -9 behind it."""
    block = torch.full_like(batch.tokens, -9)
    block[:, : len(reader.prompt.block)] = reader.prompt.block
    return block


def _items(reader: PromptBuilder, batch: Batch) -> Tensor:
    """The interaction that every token belongs to [B, L], -1 for prompt and padding; read off targets, not masks."""
    item, first = torch.full_like(batch.tokens, -1), len(reader.prompt.tokens)
    for row in range(len(item)):
        owned = batch.interaction[batch.row == row]
        item[row, first : first + len(owned)] = owned
    return item


def _run(lm: FrozenLM, reader: PromptBuilder, batch: Batch, z: Tensor, noise: Tensor | None = None) -> Tensor:
    """Hidden states [B, L, d] of the batch with z in its slots, and noise on the embeddings."""
    embeddings = put_in_slots(lm.embed(batch.tokens), reader.prompt, z)
    if noise is not None:
        embeddings = embeddings + noise
    with torch.no_grad():
        return lm.hidden(embeddings, batch.mask(embeddings.dtype), batch.position)


def test_the_prompt_is_laid_out_as_in_equation_3() -> None:
    """[BOS] n_1 z_1 n_2 z_2 T, block numbers by segment, slots where the soft tokens go."""
    prompt = build_prompt(9, [[11, 12], [13]], [14, 15], soft_tokens=2)
    assert prompt.tokens.tolist() == [9, 11, 12, 0, 0, 13, 0, 0, 14, 15]
    assert prompt.block.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 3, 3]
    assert prompt.slots.tolist() == [[3, 4], [6, 7]]
    assert (prompt.facets, prompt.history_block) == (2, 4)


def test_the_mask_follows_the_rules_of_the_method() -> None:
    """Every pair of a row with all segments and padding, against the rules of docs/method.md#mask written out."""
    segments = ["B", "N1", "Z1", "N2", "N2", "Z2", "T", "H0", "H0", "H1", "pad"]
    number = {"B": 0, "N1": 1, "Z1": 1, "N2": 2, "Z2": 2, "T": 3, "H0": 4, "H1": 5, "pad": PADDING}
    sees = {
        "B": {"B"},
        "N1": {"B", "N1"}, "Z1": {"B", "N1", "Z1"},
        "N2": {"B", "N2"}, "Z2": {"B", "N2", "Z2"},
        "T": {"B", "N1", "Z1", "N2", "Z2", "T"},
        "H0": {"B", "N1", "Z1", "N2", "Z2", "T", "H0"},
        "H1": {"B", "N1", "Z1", "N2", "Z2", "T", "H1"},
    }  # fmt: skip
    got = allowed(torch.tensor([[number[s] for s in segments]]), facets=2)[0]
    for q, who in enumerate(segments):
        for k, whom in enumerate(segments):
            if who != "pad":
                assert bool(got[q, k]) == (k <= q and whom in sees[who]), (who, whom)
            elif whom == "pad":
                assert not got[q, k]


def test_nobody_looks_at_nothing() -> None:
    """Every query, padding too, sees at least one key: a row of only finfo.min would average over everybody."""
    assert allowed(torch.tensor([[0, 1, 2, 3, 4, -1, -1]]), facets=2).any(dim=2).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mask_is_additive(dtype: torch.dtype) -> None:
    """0 where allowed, the smallest finite number elsewhere: a boolean mask would be added as +1 by eager attention."""
    allow = torch.tensor([[[True, False], [True, True]]])
    mask = additive_mask(allow, dtype)
    assert (mask.shape, mask.dtype) == ((1, 1, 2, 2), dtype)
    assert mask[0, 0].tolist() == [[0.0, torch.finfo(dtype).min], [0.0, 0.0]]


def test_positions_start_anew_at_every_item_when_factorised() -> None:
    """Running positions; factorised, each item continues the prompt; padding never asks for a position of its own."""
    block = torch.tensor([[0, 1, 2, 3, 4, 4, 5, 5, 5, -1]])
    assert positions(block, 4, 4, factorised=True)[0].tolist() == [0, 1, 2, 3, 4, 5, 4, 5, 6, 0]
    assert positions(block, 4, 4, factorised=False)[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("changed", "other"), [(1, 2), (2, 1)])
@pytest.mark.parametrize("soft_tokens", [1, 2])
def test_facets_do_not_see_each_other(kind: str, attention: str, changed: int, other: int, soft_tokens: int) -> None:
    """(i) Random changes of one facet's name and slots leave the other's hidden states the same to the last bit."""
    lm = frozen_lm(kind, attention)
    reader = reader_of(lm, soft_tokens=soft_tokens)
    batch, z = reader.batch(USERS), soft_prompts(3, soft_tokens=soft_tokens)
    block = _blocks(reader, batch)
    before = _run(lm, reader, batch, z)
    after = _run(lm, reader, batch, z, _noise(before, block == changed))
    assert torch.equal(before[block == other], after[block == other])
    assert torch.equal(before[block == 0], after[block == 0])
    assert (before[block == changed] - after[block == changed]).abs().max() > 0.1  # the change was felt
    assert (before[block == 3] - after[block == 3]).abs().max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_masking_the_slots_alone_would_leak(kind: str) -> None:
    """The test has power: closing only facet 2's slot row lets facet 1 in through the name, in the second layer."""
    lm = frozen_lm(kind)
    reader = reader_of(lm)
    batch, z = reader.batch(USERS), soft_prompts(3)
    block = _blocks(reader, batch)
    slot = int(reader.prompt.slots[1, 0])
    naive = batch.allow.clone()
    names = (block == 2).nonzero()
    for row, column in names.tolist():
        if column != slot:
            naive[row, column, : column + 1] = True
    leaky = batch._replace(allow=naive)
    before = _run(lm, reader, leaky, z)
    after = _run(lm, reader, leaky, z, _noise(before, block == 1))
    assert not torch.equal(before[:, slot], after[:, slot])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factorised", [True, False])
@pytest.mark.parametrize("facet", [0, 1])
def test_the_history_reads_every_facet(kind: str, factorised: bool, facet: int) -> None:
    """(ii) A random change of z_j changes the logits that predict the history, of every item."""
    lm = frozen_lm(kind)
    reader = reader_of(lm, factorised=factorised)
    batch, z = reader.batch(USERS), soft_prompts(3)
    other = z.clone()
    other[:, facet] += 0.5 * soft_prompts(3, seed=1)[:, facet]
    logits = [(_run(lm, reader, batch, at).flatten(0, 1)[batch.source] @ lm.head.T) for at in (z, other)]
    moved = (logits[0] - logits[1]).abs().max(dim=1).values
    for item in range(len(USERS.items)):
        assert moved[batch.interaction == item].max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("factorised", [True, False])
def test_what_was_read_earlier_does_not_change(kind: str, attention: str, factorised: bool) -> None:
    """(iii) A random change at t leaves everything before t, and when factorised every other item, as it was."""
    lm = frozen_lm(kind, attention)
    reader = reader_of(lm, factorised=factorised)
    batch, z = reader.batch(USERS), soft_prompts(3)
    item = _items(reader, batch)
    before = _run(lm, reader, batch, z)
    second = 4  # the second user's second item, with items before and after it
    columns = (item[1] == second).nonzero()[:, 0]
    t = int(columns[1])
    where = torch.zeros_like(batch.tokens, dtype=torch.bool)
    where[1, t] = True
    after = _run(lm, reader, batch, z, _noise(before, where))
    assert torch.equal(before[1, :t], after[1, :t])
    assert torch.equal(before[[0, 2]], after[[0, 2]])  # other users
    assert (before[1, columns[1:]] != after[1, columns[1:]]).any(dim=1).all()
    later = item[1] > second
    assert torch.equal(before[1, later], after[1, later]) == factorised


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factorised", [True, False])
def test_eager_and_fused_attention_agree(kind: str, factorised: bool) -> None:
    """(iv) The float mask means the same to both attention implementations."""
    results = []
    for attention in ("eager", "sdpa"):
        lm = frozen_lm(kind, attention)
        reader = reader_of(lm, factorised=factorised)
        batch = reader.batch(USERS)
        results.append(_run(lm, reader, batch, soft_prompts(3)).flatten(0, 1)[batch.source])
    assert torch.allclose(results[0], results[1], atol=2e-5)


def test_a_constant_shift_proves_nothing() -> None:
    """(v) GPT-2's LayerNorm cancels a shift of all dimensions alike, so the tests here change things at random."""
    lm = frozen_lm("gpt2")
    reader = reader_of(lm)
    batch, z = reader.batch(USERS), soft_prompts(3)
    before = _run(lm, reader, batch, z)
    everywhere = torch.ones_like(batch.tokens, dtype=torch.bool)
    shifted = _run(lm, reader, batch, z, torch.ones_like(before))
    assert (before - shifted).abs().max() < 1e-3
    assert (before - _run(lm, reader, batch, z, _noise(before, everywhere))).abs().max() > 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factorised", [True, False])
def test_a_user_does_not_depend_on_the_batch(kind: str, factorised: bool) -> None:
    """Alone, or padded beside longer histories: the states that predict a user's history are the same."""
    lm = frozen_lm(kind)
    reader = reader_of(lm, factorised=factorised)
    z, whole = soft_prompts(3), reader.batch(USERS)
    together = _run(lm, reader, whole, z).flatten(0, 1)[whole.source]
    for user in range(3):
        alone = reader.batch(USERS.of(torch.tensor([user]).numpy()))
        states = _run(lm, reader, alone, z[user : user + 1]).flatten(0, 1)[alone.source]
        assert torch.allclose(states, together[whole.row == user], atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_items_does_not_matter_when_factorised(kind: str) -> None:
    """Given the profile, interactions are independent: an item reads the same at any place of the history."""
    lm = frozen_lm(kind)
    reader = reader_of(lm)
    forward, backward = reader.batch(histories([0, ~4, 7])), reader.batch(histories([7, ~4, 0]))
    z = soft_prompts(1)
    one = _run(lm, reader, forward, z).flatten(0, 1)[forward.source]
    two = _run(lm, reader, backward, z).flatten(0, 1)[backward.source]
    for item in range(3):
        assert torch.allclose(one[forward.interaction == item], two[backward.interaction == 2 - item], atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_stays_close_to_float32(kind: str) -> None:
    """The same weights in half the bits predict the history's tokens alike."""
    scores = []
    for dtype in (torch.float32, torch.bfloat16):
        lm = frozen_lm(kind, dtype=dtype, spread=0.05)
        reader = reader_of(lm)
        batch = reader.batch(USERS)
        states = _run(lm, reader, batch, soft_prompts(3)).flatten(0, 1)[batch.source]
        scores.append((states @ lm.head.T).float().log_softmax(dim=1))
    assert (scores[0] - scores[1]).abs().max() < 0.1
