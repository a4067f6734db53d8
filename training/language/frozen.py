"""A frozen causal language model, reduced to what inference needs: embed, run, score."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from userip.training.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FrozenLM:
    """Any Hugging Face causal LM with its parameters frozen and dropout off.

    table  [V, d]  the input embeddings         head  [V, d]  the output embeddings (often the same)
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    table: Tensor
    head: Tensor
    head_bias: Tensor | None

    @classmethod
    def load(cls, path: str | Path, dtype: str = "auto") -> "FrozenLM":
        """Load from a folder or a hub name. Raises ConfigError for what cannot be loaded, or not whole."""
        try:
            tokenizer = AutoTokenizer.from_pretrained(path)
            # Eager attention: with an additive mask on a CPU it is faster than the fused kernel at our lengths.
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path, dtype=torch_dtype(dtype), attn_implementation="eager", use_safetensors=True,
                output_loading_info=True,
            )  # fmt: skip
        except (OSError, ValueError, ImportError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"language.path: no causal language model could be loaded from {str(path)!r}: {reason}"
            ) from None
        model, account = loaded
        if absent := sorted(account["missing_keys"]):
            raise ConfigError(
                f"language.path: {str(path)!r} has no {absent[0]} (of {len(absent)} weights that are not there); "
                f"as {type(model).__name__} it would be random; is it a causal language model?"
            )
        lm = cls.of(model, tokenizer)
        lm._check_parts(str(path))
        return lm

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> "FrozenLM":
        """Freeze `model` as it is. Raises ConfigError for a model without tied or own output embeddings."""
        for setting in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
            if getattr(model.config, setting, None) not in (None, 1, 1.0):
                raise ConfigError(
                    f"language.path: {type(model).__name__} transforms its logits ({setting}), which is not supported"
                )
        model.requires_grad_(False)
        model.eval()  # type: ignore[no-untyped-call]
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        if head is None:
            raise ConfigError(f"language.path: {type(model).__name__} has no output embeddings; a causal LM has")
        table: Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
        return cls(model, tokenizer, table, head.weight, getattr(head, "bias", None))

    @torch.no_grad()
    def _check_parts(self, path: str) -> None:
        """Raise ConfigError unless tokenizer, embeddings, states and head belong together."""
        tokens = self.encode("This user likes a story about the sea.")
        if not tokens or max(tokens) >= len(self.table):
            raise ConfigError(
                f"language.path: the tokenizer of {path!r} "
                + ("has no tokens for words" if not tokens else f"has ids beyond the model's {len(self.table):,}")
                + "; are the tokenizer's files those of the model?"
            )
        ids = torch.tensor([tokens])
        logits: Tensor = self.model(ids).logits
        own = self.model.base_model(ids).last_hidden_state @ self.head.T
        own = own if self.head_bias is None else own + self.head_bias
        if float((own - logits).abs().max()) > 0.05 * float(logits.abs().max()):
            raise ConfigError(
                f"language.path: the logits of {type(self.model).__name__} are not its last states times its output "
                "embeddings, which is not supported"
            )

    @property
    def width(self) -> int:
        """The width d of the embeddings and so of a soft token."""
        return int(self.table.shape[1])

    @property
    def longest(self) -> int:
        """How many positions the model has."""
        return int(getattr(self.model.config, "max_position_embeddings", 1 << 20))

    @property
    def rms(self) -> float:
        """Root mean square of the embedding table: the length scale of soft tokens."""
        return float(self.table.float().square().mean().sqrt())

    @property
    def bos(self) -> int:
        """The id that begins a sequence; a tokenizer without one lends its end-of-text or first id."""
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        return 0

    def encode(self, text: str) -> list[int]:
        """Token ids of `text` alone: no special tokens, no padding, whatever the tokenizer's habits."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def embed(self, tokens: Tensor) -> Tensor:
        """Input embeddings of tokens int64 [...]: [..., d] in the model's dtype."""
        return self.model.get_input_embeddings()(tokens)  # type: ignore[no-any-return]

    def hidden(self, embeddings: Tensor, mask: Tensor, position_ids: Tensor) -> Tensor:
        """Last hidden states [B, L, d] of embeddings [B, L, d] under an additive mask [B, 1, L, L]."""
        return self.model.base_model(  # type: ignore[no-any-return]
            inputs_embeds=embeddings, attention_mask=mask, position_ids=position_ids, use_cache=False
        ).last_hidden_state


def torch_dtype(name: str) -> torch.dtype:
    """The dtype that a setting means. `auto` is bfloat16 where the processor multiplies it natively."""
    if name == "auto":
        native = torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if native else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
