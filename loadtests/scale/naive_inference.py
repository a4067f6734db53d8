"""The loop that anybody would write first, to measure ours against (docs/method.md#speed-of-inference)."""

import torch
from torch import Tensor

from userip.models.prompt.soft_prompt import additive_mask
from userip.training.crossfit.histories import Histories, Ints
from userip.training.language.frozen import FrozenLM
from userip.training.language.prompt_builder import PromptBuilder
from userip.training.language.sequences import put_in_slots


def naive_steps(
    lm: FrozenLM,
    reader: PromptBuilder,
    histories: Histories,
    z: Tensor,
    optimiser: torch.optim.Optimizer,
    groups: list[Ints],
) -> None:
    """One step for every batch of users in `groups`; z float32 [U, J, m, d] holds the rows of all users.

    Logits at every position, padding among them; cross-entropy ignores what is not supervised. The optimiser is
    torch's own over the whole of z: rows of absent users have gradient 0 and are updated all the same.
    """
    vocabulary = len(lm.head)
    for members in groups:
        batch = reader.batch(histories.of(members))
        embeddings = put_in_slots(lm.embed(batch.tokens), reader.prompt, z[torch.from_numpy(members)])
        logits = lm.model(
            inputs_embeds=embeddings,
            attention_mask=additive_mask(batch.allow, embeddings.dtype),
            position_ids=batch.position,
            use_cache=False,
        ).logits
        # The first token of an item is predicted by the end of the prompt: rows are gathered from all logits.
        nll = torch.nn.functional.cross_entropy(
            logits.reshape(-1, vocabulary)[batch.source], batch.target, reduction="none"
        )
        loss = (nll * batch.weight).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
