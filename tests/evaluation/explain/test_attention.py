"""Attention by what is looked at: against a transformer layer computed by hand, and where the answer is known."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tests.training.tiny_language import (
    WIDTH,
    frozen_lm,
    histories,
    random_histories,
    reader_of,
    soft_prompts,
    tokenizer,
)
from userip.evaluation.explain.attention import EVEN, PARTS, QUERIES, Attention, attention_to_content
from userip.training.errors import ConfigError
from userip.training.language.frozen import FrozenLM
from userip.training.language.item_texts import item_strings

EAGER: dict[str, Any] = {"attn_implementation": "eager"}
USERS = random_histories(7, 5, seed=2, shortest=1)


def _table(found: Attention) -> dict[tuple[str, str, str], float]:
    return {(one.fill, one.query, one.part): one.share.mean for one in found.shares}


def _one_layer() -> FrozenLM:
    torch.manual_seed(5)
    shape = GPT2Config(
        vocab_size=len(tokenizer()), n_positions=256, n_embd=WIDTH, n_layer=1, n_head=2, initializer_range=0.3,
        bos_token_id=0, eos_token_id=0, **EAGER,
    )  # fmt: skip
    return FrozenLM.of(GPT2LMHeadModel(shape), tokenizer())


def _first_layer(lm: FrozenLM) -> tuple[Any, torch.Tensor]:
    """The layer, and the embeddings of places."""
    base: Any = lm.model.base_model
    return base.h[0], base.wpe.weight


def test_shares_are_those_of_a_layer_computed_by_hand() -> None:
    """One layer, two heads, one user with two items: every score by loops, every word named by reading the text."""
    lm = _one_layer()
    reader = reader_of(lm)
    z = soft_prompts(1)
    found = _table(attention_to_content(lm, reader, histories([4, ~7]), {"z": z}))

    # The sequence: (embedding, place, what it is, who it belongs to), written out as docs/method.md#prompt says.
    prompt: list[tuple[torch.Tensor, str, str]] = [(lm.table[0], "begin", "begin")]
    for j, facet in enumerate(reader.facets):
        prompt += [(lm.table[t], "template", facet.name) for t in lm.encode(facet.phrase)]
        prompt += [(z[0, j, 0], "slots", facet.name)]
    prompt += [(lm.table[t], "template", "task") for t in lm.encode(reader.history.task)]
    lines = item_strings(reader.items, reader.attributes)
    sequence, place, queries = list(prompt), list(range(len(prompt))), dict[str, list[int]]()
    queries["item"] = [len(prompt) - 1] * 2
    queries["history"], queries["verdict"] = [], []
    for item, verdict in ((4, " liked"), (7, " disliked")):
        content, ending = lm.encode(lines[item])[: reader.history.item_tokens], lm.encode(":" + verdict)
        for step, token in enumerate(content + ending):
            queries["history"].append(len(sequence))
            place.append(len(prompt) + step)
            sequence.append((lm.table[token], "content" if step < len(content) else "verdict", f"item {item}"))
        queries["verdict"].append(len(sequence) - 2)  # the colon's state predicts the verdict

    def sees(q: int, k: int) -> bool:
        owner, other = sequence[q][2], sequence[k][2]
        if k > q:
            return False
        return other in ("begin", owner) or owner == "task" or (owner.startswith("item") and k < len(prompt))

    block, places = _first_layer(lm)
    x = torch.stack([one[0] for one in sequence]) + places[place]
    q, k, _ = block.attn.c_attn(block.ln_1(x)).split(WIDTH, dim=1)
    for query, rows in queries.items():
        shares: dict[str, list[float]] = {part: [] for part in PARTS}  # type: dict[str, list[float]]
        for row in rows:
            mass = dict.fromkeys(PARTS, 0.0)
            for head in (slice(0, WIDTH // 2), slice(WIDTH // 2, WIDTH)):
                scores = {
                    at: math.exp(float(q[row, head] @ k[at, head]) / math.sqrt(WIDTH // 2))
                    for at in range(len(sequence))
                    if sees(row, at)
                }
                for at, score in scores.items():
                    mass[sequence[at][1]] += score / sum(scores.values()) / 2
            for part, value in mass.items():
                shares[part].append(value)
        for part in PARTS:
            assert found["z", query, part] == pytest.approx(np.mean(shares[part]), abs=1e-5), (query, part)


@pytest.mark.parametrize("factorised", [True, False])
def test_a_model_that_looks_at_all_alike_shows_the_even_shares(factorised: bool) -> None:
    """With queries and keys of zero, attention is even over what is visible: that row is what `EVEN` says."""
    lm = frozen_lm("gpt2")
    base: Any = lm.model.base_model
    with torch.no_grad():
        for layer in base.h:
            layer.attn.c_attn.weight.zero_()
    found = attention_to_content(lm, reader_of(lm, factorised=factorised), USERS, {"z": soft_prompts(7)})
    table = _table(found)
    for query in QUERIES:
        for part in PARTS:
            assert table["z", query, part] == pytest.approx(table[EVEN, query, part], abs=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_shares_sum_to_one_and_stop_at_the_mask(kind: str) -> None:
    """Factorised, the end of the prompt sees no item; two soft tokens count together."""
    lm = frozen_lm(kind)
    reader = reader_of(lm, soft_tokens=2)
    found = attention_to_content(lm, reader, USERS, {"z": soft_prompts(7, soft_tokens=2)})
    table = _table(found)
    assert (found.layers, found.heads, found.users) == (2, 4, 7)
    for fill in ("z", EVEN):
        for query in QUERIES:
            assert sum(table[fill, query, part] for part in PARTS) == pytest.approx(1, abs=1e-6)
        assert table[fill, "item", "content"] == table[fill, "item", "verdict"] == 0
    assert table[EVEN, "item", "slots"] == pytest.approx(4 / len(reader.prompt.tokens))


def test_how_users_are_batched_makes_no_difference() -> None:
    """One user at a time, or all at once with padding."""
    lm = frozen_lm("gpt2")
    alone, together = (
        _table(attention_to_content(lm, reader_of(lm), USERS, {"z": soft_prompts(7)}, batch_tokens=tokens))
        for tokens in (1, 100_000)
    )
    assert alone == pytest.approx(together, abs=1e-6)


def test_changes_are_paired_by_user() -> None:
    """From each fill to the last: the difference of the means, and exactly none, for sure, from a fill to itself."""
    lm = frozen_lm("gpt2")
    fills = {"before": soft_prompts(7, seed=1), "same": soft_prompts(7), "after": soft_prompts(7)}
    found = attention_to_content(lm, reader_of(lm), USERS, fills)
    table = _table(found)
    assert {one.fill for one in found.changes} == {"before", "same"}
    for one in found.changes:
        change = table["after", one.query, one.part] - table[one.fill, one.query, one.part]
        assert one.share.mean == pytest.approx(change, abs=1e-12)
        assert one.share.low <= one.share.mean + 1e-12
        assert one.share.mean <= one.share.high + 1e-12
        if one.fill == "same":
            assert one.share.low == one.share.mean == one.share.high == 0
    moved = [one.share for one in found.changes if one.fill == "before" and one.part == "slots"]
    assert all(one.high > one.low for one in moved)


def test_slots_that_shout_are_looked_at() -> None:
    """Soft tokens scaled along what all queries ask for draw attention: the change to the slots is above zero."""
    lm = _one_layer()
    block, _ = _first_layer(lm)
    with torch.no_grad():  # all queries alike, keys the identity: the score is one dimension of the normed embedding
        block.attn.c_attn.weight.zero_()
        block.attn.c_attn.bias[:WIDTH:16] = 8.0
        block.attn.c_attn.weight[:, WIDTH : 2 * WIDTH] = torch.eye(WIDTH)
    loud = torch.zeros(7, 2, 1, WIDTH)
    loud[..., ::16] = 50.0  # one dimension of each head
    found = attention_to_content(lm, reader_of(lm), USERS, {"quiet": torch.zeros(7, 2, 1, WIDTH) - loud, "loud": loud})
    (change,) = (one for one in found.changes if (one.query, one.part) == ("history", "slots"))
    assert change.share.low > 0


def test_without_polarity_nothing_predicts_a_verdict() -> None:
    """Histories without liked and disliked: two kinds of queries, and no verdict to look at."""
    lm = frozen_lm("gpt2")
    found = attention_to_content(lm, reader_of(lm, polarity=False), USERS, {"z": soft_prompts(7)})
    assert {one.query for one in found.shares} == {"history", "item"}
    assert all(one.share.mean == 0 for one in found.shares if one.part == "verdict")


def test_what_cannot_be_measured_is_refused() -> None:
    """A fused kernel keeps its weights to itself; a user without history has nothing to look; z must fit."""
    z = soft_prompts(7)
    fused = frozen_lm("gpt2", attention="sdpa")
    with pytest.raises(ConfigError, match="does not show its attention"):
        attention_to_content(fused, reader_of(fused), USERS, {"z": z})
    lm = frozen_lm("gpt2")
    with pytest.raises(ValueError, match="who have a history"):
        attention_to_content(lm, reader_of(lm), histories([1], []), {"z": z[:2]})
    with pytest.raises(ValueError, match="fill 'z' is"):
        attention_to_content(lm, reader_of(lm), USERS, {"z": z[:6]})
