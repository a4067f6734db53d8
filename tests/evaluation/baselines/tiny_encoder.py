"""A tiny BERT with random weights and a word tokenizer, built here: nothing is fetched."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from userip.evaluation.baselines.text_encoder import TextEncoder

WIDTH = 32
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (
    "this user likes dislikes liked disliked almost nothing little less more than half most everything of what they "
    "rate the tale drama horror comedy kind shelf all odd even a b c d e f g h . , ; :"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per word or sign; numbers digit by digit."""
    names = [*SPECIAL, *WORDS.split(), *"0123456789"]
    core = Tokenizer(models.WordLevel({name: row for row, name in enumerate(names)}, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)]
    )
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=128, **special)  # type: ignore[no-untyped-call]


def save_encoder(folder: Path, *, seed: int = 3) -> Path:
    """A folder as a model hub would give it."""
    words = tokenizer()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def tiny_encoder(folder: Path, *, max_tokens: int = 96) -> TextEncoder:
    """The encoder of a fresh folder, in float32."""
    return TextEncoder.load(str(save_encoder(folder)), max_tokens=max_tokens, dtype="float32")
