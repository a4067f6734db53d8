"""A vector is the mean over a text's own tokens; what was encoded is not encoded again."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.evaluation.baselines.tiny_encoder import WIDTH, save_encoder, tiny_encoder
from userip.evaluation.baselines import text_encoder
from userip.evaluation.baselines.text_encoder import PACKAGE, Float32, TextEncoder, encode_kept
from userip.training.errors import ConfigError

TEXTS = ["likes drama", "likes horror, dislikes comedy and drama 7", "a", "", "likes drama"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


def test_a_vector_is_the_mean_of_the_last_states(encoder: TextEncoder) -> None:
    """Token by token, each text alone and so without padding: the company of a batch makes no difference."""
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (5, WIDTH)
    assert vectors.dtype == np.float32
    for text, vector in zip(TEXTS, vectors, strict=True):
        tokens = encoder.tokenizer(text)["input_ids"]
        with torch.no_grad():
            states = encoder.model(input_ids=torch.tensor([tokens])).last_hidden_state[0]
        mean = [sum(float(state[d]) for state in states) / len(tokens) for d in range(WIDTH)]
        np.testing.assert_allclose(vector, mean, rtol=0, atol=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 0.1


def test_a_text_is_cut_to_its_tokens(encoder: TextEncoder) -> None:
    """What stands behind `max_tokens` tokens (two of them signs of begin and end) is not read."""
    short = replace(encoder, max_tokens=6)
    vectors = short.encode(["a b c d", "a b c d e f", "a b c e"])
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=0, atol=1e-6)
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


def test_kept_vectors_are_those_of_the_encoder(
    encoder: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the texts, equal texts with equal vectors; the second call encodes nothing."""
    first = encode_kept(encoder, TEXTS, tmp_path, "texts")
    np.testing.assert_allclose(first, encoder.encode(TEXTS), rtol=0, atol=1e-5)
    assert np.array_equal(first[0], first[4])
    assert encode_kept(encoder, [], tmp_path, "texts").shape == (0, WIDTH)
    monkeypatch.setattr(TextEncoder, "encode", lambda *_: pytest.fail("encoded again"))
    assert np.array_equal(encode_kept(encoder, TEXTS, tmp_path, "texts"), first)


def test_a_killed_run_goes_on_where_it_was(
    encoder: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole shards stay, half a file is not taken for one, and the bytes are those of a run that was not killed."""
    monkeypatch.setattr(text_encoder, "SHARD", 4)
    texts = [" ".join("abcdefgh"[: 1 + n % 8]) + f" {n}" for n in range(15)]
    whole = encode_kept(encoder, texts, tmp_path / "whole", "texts")
    encode, calls = TextEncoder.encode, list[list[str]]()

    def killed(self: TextEncoder, shard: list[str]) -> Float32:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(shard)
        return encode(self, shard)

    monkeypatch.setattr(TextEncoder, "encode", killed)
    with pytest.raises(KeyboardInterrupt):
        encode_kept(encoder, texts, tmp_path / "killed", "texts")
    assert len(list((tmp_path / "killed").glob("*.npy"))) == 2
    calls.clear()
    resumed = encode_kept(encoder, texts, tmp_path / "killed", "texts")
    assert len(calls) == 2, "two of four shards were left"
    assert resumed.tobytes() == whole.tobytes()


def test_the_key_names_everything_that_a_vector_depends_on(encoder: TextEncoder, tmp_path: Path) -> None:
    """Other weights, another cut or another dtype make other files; the same folder again does not."""
    same = tiny_encoder(tmp_path / "same")
    keys = {
        encoder.key,
        tiny_encoder(tmp_path / "cut", max_tokens=90).key,
        TextEncoder.load(str(save_encoder(tmp_path / "other", seed=4)), max_tokens=96, dtype="float32").key,
        TextEncoder.load(str(save_encoder(tmp_path / "half")), max_tokens=96, dtype="bfloat16").key,
    }
    assert same.key == encoder.key
    assert len(keys) == 4


def test_what_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model there, a weight missing, too few positions, or the packaged encoder not installed."""
    with pytest.raises(ConfigError, match="no text encoder could be loaded from"):
        TextEncoder.load(str(tmp_path))
    folder = save_encoder(tmp_path / "broken")
    with pytest.raises(ConfigError, match="max_tokens: 256 is more than the 128 positions"):
        TextEncoder.load(str(folder))
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match=r"has no encoder\.layer\.1\.output\.dense\.weight \(of 1"):
        TextEncoder.load(str(folder), max_tokens=96)
    monkeypatch.setattr(text_encoder, "PACKAGE", "no_such_package")
    with pytest.raises(ConfigError, match=r"needs the package no-such-package: pip install 'userip\[baselines\]'"):
        TextEncoder.load("minilm")


@pytest.mark.skipif(find_spec(PACKAGE) is None, reason="the extra `baselines` is not installed")
def test_the_packaged_encoder_knows_what_words_mean() -> None:
    """all-MiniLM-L6-v2, 384 wide: a paraphrase without a word in common is nearer than another topic."""
    encoder = TextEncoder.load("minilm", dtype="float32")
    vectors = encoder.encode(["scary ghost movie", "a horror film about haunted houses", "sweet white wine"])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert encoder.width == 384
    assert unit[0] @ unit[1] > 0.4
    assert unit[0] @ unit[2] < 0.2
