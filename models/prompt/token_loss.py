"""Cross-entropy of tokens without the [tokens, vocabulary] table in memory.

On a CPU the softmax over the vocabulary, not the matrix product, is what a small language model spends its time
on: the table falls out of the cache and is written several times. Here a chunk of tokens is scored, normalised,
turned into its own gradient and forgotten while it is still in the cache.
"""

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

GRAIN: Final = 64


class TokenLoss(NamedTuple):
    """loss: float32 [], the weighted sum; nll: float32 [N], nats of every token, without gradient."""

    loss: Tensor
    nll: Tensor


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (torch gives it no type)
        hidden: Tensor,
        head: Tensor,
        bias: Tensor | None,
        target: Tensor,
        weight: Tensor,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        count = hidden.shape[0]
        # Padded with tokens of weight 0: a new number of rows would cost new kernels, which the library keeps.
        spare = -count % GRAIN
        hidden, target, weight = (_padded(part, spare) for part in (hidden, target, weight))
        nll = torch.empty(count + spare, dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_head = torch.zeros_like(head, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        for start in range(0, count + spare, chunk):
            rows = slice(start, start + chunk)
            h, t, w = hidden[rows], target[rows, None], weight[rows, None]
            scores = (h @ head.T).float()
            if bias is not None:
                scores += bias.float()
            log_z = scores.logsumexp(dim=1, keepdim=True)
            nll[rows] = (log_z - scores.gather(1, t))[:, 0]
            if grad_hidden is None and grad_head is None:
                continue
            # d nll / d scores = softmax - onehot; done in place on the scores.
            gradient = scores.sub_(log_z).exp_()
            gradient.scatter_add_(1, t, gradient.new_full(t.shape, -1.0))
            gradient.mul_(w)
            if grad_hidden is not None:
                grad_hidden[rows] = gradient.to(head.dtype) @ head
            if grad_head is not None:
                grad_head += (gradient.to(h.dtype).T @ h).float()
        ctx.save_for_backward(None if grad_hidden is None else grad_hidden[:count], grad_head)
        ctx.head_dtype = head.dtype
        nll, weight = nll[:count].clone(), weight[:count]
        ctx.mark_non_differentiable(nll)
        return (nll * weight).sum(), nll

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        grad_hidden, grad_head = ctx.saved_tensors
        return (
            None if grad_hidden is None else grad_hidden * grad_loss.to(grad_hidden.dtype),
            None if grad_head is None else (grad_head * grad_loss).to(ctx.head_dtype),
            None,
            None,
            None,
            None,
        )


def _padded(part: Tensor, spare: int) -> Tensor:
    """`part` [N, ..] with `spare` rows of zeros behind it."""
    return torch.cat([part, part.new_zeros(spare, *part.shape[1:])]) if spare else part


def token_loss(
    hidden: Tensor,
    head: Tensor,
    target: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    chunk: int = 512,
) -> TokenLoss:
    """Weighted negative log-likelihood of `target` under softmax(hidden @ head.T + bias)   (Eq. 4).

    hidden [N, d], head [V, d], bias [V] or None, target int64 [N], weight float32 [N]. Gradients reach hidden and
    head, each only if it asks for them. Equal to torch's cross_entropy up to rounding.
    """
    loss, nll = _HeadLoss.apply(hidden, head, bias, target, weight, chunk)  # type: ignore[no-untyped-call]
    return TokenLoss(loss, nll)
