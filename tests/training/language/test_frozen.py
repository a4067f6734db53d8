"""The frozen model: what it predicts is what the whole model predicts, whatever its tokenizer's habits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from tests.training.tiny_language import KINDS, frozen_lm, histories, reader_of, soft_prompts, tokenizer
from userip.training.errors import ConfigError
from userip.training.language.frozen import FrozenLM, torch_dtype
from userip.training.language.sequences import Batch, put_in_slots

USERS = histories([0, ~4, 7], [2], [])


def _variant(**settings: Any) -> PreTrainedTokenizerBase:  # noqa: ANN401  (settings of any kind)
    """The same vocabulary behind another tokenizer's habits."""
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend_tokenizer, **settings)  # type: ignore[no-untyped-call]


def _batch(tokens: PreTrainedTokenizerBase) -> Batch:
    return reader_of(FrozenLM.of(frozen_lm("gpt2").model, tokens)).batch(USERS)


@pytest.mark.parametrize("kind", KINDS)
def test_states_times_head_are_the_models_logits(kind: str) -> None:
    """Embedding, hidden states and head apart give the logits that the model gives to token ids."""
    lm = frozen_lm(kind)
    tokens = torch.tensor([[0, 5, 9, 200, 31]])
    mask = torch.full((1, 1, 5, 5), torch.finfo(torch.float32).min).triu(1)
    with torch.no_grad():
        logits = lm.model(tokens).logits
        states = lm.hidden(lm.embed(tokens), mask, torch.arange(5)[None])
    own = states @ lm.head.T + (0 if lm.head_bias is None else lm.head_bias)
    assert torch.allclose(own, logits, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_it_can_learn(kind: str) -> None:
    """No parameter asks for a gradient, dropout is off, and a backward pass to z leaves none behind."""
    lm = frozen_lm(kind)
    reader = reader_of(lm)
    z = soft_prompts(3).requires_grad_(True)
    batch = reader.batch(USERS)
    embeddings = put_in_slots(lm.embed(batch.tokens), reader.prompt, z)
    lm.hidden(embeddings, batch.mask(embeddings.dtype), batch.position).square().sum().backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert z.grad.abs().sum() > 0
    assert not lm.model.training
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in lm.model.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {"bos_token": "<bos>", "padding_side": "left", "pad_token": "<bos>"},
        {"bos_token": "<bos>", "padding_side": "right", "pad_token": "<bos>"},
        {"bos_token": "<bos>"},
        {"bos_token": "<bos>", "padding_side": "left", "truncation_side": "left", "model_max_length": 4},
        {"eos_token": "<bos>"},
    ],
)
def test_the_tokenizers_habits_do_not_matter(settings: dict[str, Any]) -> None:
    """Left or right padding, no pad token, a short limit, no BOS but an end-of-text: the batch is the same."""
    for mine, theirs in zip(_batch(_variant(**settings)), _batch(tokenizer()), strict=True):
        assert torch.equal(mine, theirs)


def test_a_tokenizer_that_adds_and_pads_by_itself_is_overruled() -> None:
    """A saved post-processor, padding or truncation of the tokenizer does not reach the texts."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    eager = Tokenizer.from_str(tokenizer().backend_tokenizer.to_str())
    eager.post_processor = TemplateProcessing(single="<bos> $A <bos>", special_tokens=[("<bos>", 0)])
    eager.enable_padding(length=32)
    eager.enable_truncation(3)
    habits = PreTrainedTokenizerFast(tokenizer_object=eager, bos_token="<bos>")  # type: ignore[no-untyped-call]
    for mine, theirs in zip(_batch(habits), _batch(tokenizer()), strict=True):
        assert torch.equal(mine, theirs)


def test_a_tokenizer_without_any_special_token_begins_with_its_first_id() -> None:
    """Neither BOS nor end-of-text: id 0 begins the sequence, and profiles can still be inferred."""
    lm = FrozenLM.of(frozen_lm("llama").model, _variant())
    assert lm.tokenizer.bos_token_id is None
    assert lm.bos == 0
    batch = reader_of(lm).batch(USERS)
    assert batch.tokens[:, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_folder_loads_again(kind: str, tmp_path: Path) -> None:
    """Weights, tokenizer and states are the same after a folder on disk, in float32 and in bfloat16."""
    lm = frozen_lm(kind)
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    again = FrozenLM.load(tmp_path, "float32")
    assert torch.equal(again.table, lm.table)
    assert torch.equal(again.head, lm.head)
    assert (again.width, again.longest, again.bos) == (32, 256, 0)
    assert again.encode(" river: liked") == lm.encode(" river: liked")
    assert FrozenLM.load(tmp_path, "bfloat16").table.dtype == torch.bfloat16


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """An empty folder and one with a broken config are errors of `language.path`, in one line."""
    with pytest.raises(ConfigError, match=r"language\.path: no causal language model .*" + tmp_path.name):
        FrozenLM.load(tmp_path)
    lm = frozen_lm("gpt2")
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"language\.path: no causal language model"):
        FrozenLM.load(tmp_path)


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    """Without the tokenizer's files the library makes an empty one, to which every text is nothing."""
    frozen_lm("gpt2").model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"the tokenizer of .* has no tokens for words"):
        FrozenLM.load(tmp_path)


def test_a_tokenizer_of_a_larger_model_is_named(tmp_path: Path) -> None:
    """Ids beyond the embeddings would be an index error later."""
    torch.manual_seed(3)
    GPT2LMHeadModel(
        GPT2Config(vocab_size=40, n_positions=64, n_embd=32, n_layer=1, n_head=4, bos_token_id=0, eos_token_id=0)
    ).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"the tokenizer of .* has ids beyond the model's 40"):
        FrozenLM.load(tmp_path)


def test_a_model_that_is_not_whole_or_no_causal_one_is_named(tmp_path: Path) -> None:
    """Weights that are not in the folder would be random; a head behind another layer would be left out."""
    config = BertConfig(
        vocab_size=len(tokenizer()), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    tokenizer().save_pretrained(tmp_path)
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"has no cls\.predictions\..* it would be random"):
        FrozenLM.load(tmp_path)
    BertLMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"logits of BertLMHeadModel are not its last states times"):
        FrozenLM.load(tmp_path)


def test_dtypes_and_scale() -> None:
    """Named types are taken as named, `auto` is one of the two; rms is that of the table."""
    assert torch_dtype("float32") is torch.float32
    assert torch_dtype("bfloat16") is torch.bfloat16
    assert torch_dtype("auto") in (torch.float32, torch.bfloat16)
    lm = frozen_lm("gpt2")
    assert lm.rms == pytest.approx(float(np.sqrt(np.mean(lm.table.numpy().astype(np.float64) ** 2))), rel=1e-5)
