"""Train the small language model: slot words from one half of a history, text from the other.

Every step draws users, halves each history anew, writes the words of the first half into the slots and trains on
the items of the second. So the model learns to read a profile out of the slots; with words for every slot hidden
at times, it also learns what to expect of a stranger. A slice of every batch is catalogue alone: items with their
own attributes as hobby and no polarity, so that items nobody has interacted with can be read too.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from userip.models.prompt.token_loss import token_loss
from userip.training.crossfit.histories import Histories, Ints
from userip.training.language.checkpoint import Checkpoint
from userip.training.language.config import LanguageConfig
from userip.training.language.prompt_builder import PromptBuilder
from userip.training.language.sequences import Batch, put_in_slots
from userip.training.language.slot_initializer import SlotInitializer
from userip.training.progress import track


@dataclass(frozen=True)
class Nats:
    """Mean negative log-likelihood per item, in nats: of the title's tokens, and of the polarity."""

    title: float
    polarity: float

    @property
    def item(self) -> float:
        """Both together."""
        return self.title + self.polarity


def new_model(config: LanguageConfig, tokenizer: PreTrainedTokenizerFast, seed: int) -> GPT2LMHeadModel:
    """A GPT-2 of the configured size with random weights."""
    torch.manual_seed(seed)
    shape = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=256,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        # The fused form of GPT-2's gelu: same function, a third of the time.
        activation_function="gelu_pytorch_tanh",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    shape._attn_implementation = "eager"
    return GPT2LMHeadModel(shape)


def pretrain(
    model: GPT2LMHeadModel,
    reader: PromptBuilder,
    fillers: SlotInitializer,
    train: Histories,
    config: LanguageConfig,
    seed: int,
    dtype: torch.dtype,
    checkpoint: Path | None = None,
) -> list[float]:
    """Train `model` in place on train histories. Returns the loss per item of every step, in nats.

    With a `checkpoint` file, training goes on from it, if it is there, and is saved to it now and then.
    """
    draw = np.random.default_rng([seed, 1])
    texts = reader.texts_weighted(config.title_weight, config.polarity_weight)
    eligible = np.flatnonzero(train.lengths >= 2)
    users = eligible if len(eligible) else np.flatnonzero(train.lengths >= 1)
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}],
        lr=config.lr,
        betas=(0.9, 0.98),
    )
    saved = Checkpoint(checkpoint, model, optimiser, draw)
    losses = saved.restore()
    begun = len(losses)
    for step in track(range(begun, config.steps), config.steps, "language model", done=begun):
        for group in optimiser.param_groups:
            group["lr"] = config.lr * _schedule(step, config.steps)
        known, target = _halves(train.of(draw.choice(users, min(config.users, len(users)))), config, draw)
        shelf = _catalogue(len(reader.items), config, draw)
        hidden = draw.random((len(known) + len(shelf), len(reader.facets))) > config.fill_share
        batch = reader.batch(target.then(shelf), texts)
        # Nobody has judged the shelf: its polarity is not learnt.
        batch.weight[batch.polar & (batch.row >= len(known))] = 0.0
        slots = partial(fillers.slots, known.then(shelf), hidden=hidden)
        loss = _loss(model, reader, slots, batch, dtype)
        items = max(len(target.items) + len(shelf.items), 1)
        optimiser.zero_grad(set_to_none=True)
        (loss / items).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()) / items)
        saved.save(losses)
    return losses


def _halves(histories: Histories, config: LanguageConfig, draw: np.random.Generator) -> tuple[Histories, Histories]:
    """Split every history at random: one half for the slots, at most `items` of the other as text."""
    ranks = histories.ranks(draw)
    half = (histories.lengths // 2)[histories.owner]
    target = histories.keep((ranks >= half) & (ranks < half + config.items))
    return histories.keep(ranks < half), target


def _catalogue(items: int, config: LanguageConfig, draw: np.random.Generator) -> Histories:
    """One made-up history for every eight real ones: items of the catalogue, as if all were liked."""
    count = max(config.users // 8, 1)
    offsets = np.arange(count + 1) * config.items
    return Histories(offsets, draw.integers(items, size=offsets[-1]), np.ones(offsets[-1], dtype=np.bool_))


def _loss(
    model: GPT2LMHeadModel,
    reader: PromptBuilder,
    slots: Callable[[Tensor], Tensor],
    batch: Batch,
    dtype: torch.dtype,
) -> Tensor:
    table = model.transformer.wte.weight
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        z = slots(table)[:, :, None].expand(-1, -1, reader.soft_tokens, -1)
        embeddings = put_in_slots(model.transformer.wte(batch.tokens), reader.prompt, z)
        states = model.transformer(
            inputs_embeds=embeddings,
            attention_mask=batch.mask(embeddings.dtype),
            position_ids=batch.position,
            use_cache=False,
        ).last_hidden_state
    picked = states.flatten(0, 1)[batch.source].to(dtype)
    return token_loss(picked, table.to(dtype), batch.target, batch.weight).loss


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over the first 5 %, cosine to a twentieth afterwards."""
    warm = max(steps // 20, 1)
    if step < warm:
        return (step + 1) / warm
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))


def split_nats(batch: Batch, nll: Tensor) -> Nats:
    """Average token nats per item, title and polarity apart."""
    items = int(batch.interaction[-1]) + 1 if len(batch.interaction) else 1
    return Nats(float(nll[~batch.polar].sum()) / items, float(nll[batch.polar].sum()) / items)


def probe_users(train: Histories, seed: int) -> Ints:
    """Users whose histories only measure: 2 % of those with 4 or more interactions, 32 .. 512, never trained on."""
    able = np.flatnonzero(train.lengths >= 4)
    count = min(len(able) // 4, 512, max(32, len(able) // 50))
    return np.sort(np.random.default_rng([seed, 2]).permutation(able)[:count])
