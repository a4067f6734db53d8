"""The chunked token loss against torch's cross_entropy."""

import pytest
import torch
from torch import Tensor

from userip.models.prompt.token_loss import token_loss


def _case(n: int = 23, width: int = 8, vocabulary: int = 31, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(n, width, generator=generator).to(dtype)
    head = torch.randn(vocabulary, width, generator=generator).to(dtype)
    bias = torch.randn(vocabulary, generator=generator).to(dtype)
    target = torch.randint(vocabulary, (n,), generator=generator)
    weight = torch.rand(n, generator=generator)
    weight[3] = 0.0
    return [hidden, head, bias, target, weight]


@pytest.mark.parametrize("chunk", [1, 7, 22, 23, 24, 512])
@pytest.mark.parametrize("with_bias", [False, True])
def test_values_and_gradients_are_those_of_cross_entropy(chunk: int, with_bias: bool) -> None:
    """Loss, nats per token, and both gradients, wherever the chunks end, with and without a bias."""
    hidden, head, bias, target, weight = _case()
    at = bias if with_bias else None
    mine = [hidden.clone().requires_grad_(True), head.clone().requires_grad_(True)]
    loss, nll = token_loss(mine[0], mine[1], target, weight, bias=at, chunk=chunk)
    (3.0 * loss).backward()  # type: ignore[no-untyped-call]
    theirs = [hidden.clone().requires_grad_(True), head.clone().requires_grad_(True)]
    scores = torch.nn.functional.linear(theirs[0], theirs[1], at)
    each = torch.nn.functional.cross_entropy(scores, target, reduction="none")
    (3.0 * (each * weight).sum()).backward()  # type: ignore[no-untyped-call]
    assert torch.allclose(loss, (each * weight).sum(), rtol=1e-5)
    assert torch.allclose(nll, each, atol=1e-5)
    for own, other in zip(mine, theirs, strict=True):
        assert own.grad is not None
        assert other.grad is not None
        assert torch.allclose(own.grad, other.grad, atol=1e-4)


def test_a_token_without_weight_moves_nothing() -> None:
    """Weight 0 is the label -100: nats are told, no gradient flows."""
    hidden, head, _, target, weight = _case()
    hidden.requires_grad_(True)
    loss, nll = token_loss(hidden, head, target, weight)
    loss.backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert nll[3] > 0
    assert hidden.grad[3].abs().max() == 0
    assert hidden.grad[2].abs().max() > 0


def test_gradients_go_only_where_they_are_asked_for() -> None:
    """A frozen head gets none, though the hidden states do; nats per token carry none at all."""
    hidden, head, _, target, weight = _case()
    hidden.requires_grad_(True)
    loss, nll = token_loss(hidden, head, target, weight)
    loss.backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert head.grad is None
    assert not nll.requires_grad
    frozen = token_loss(hidden.detach(), head, target, weight).loss
    assert not frozen.requires_grad


def test_large_scores_do_not_overflow() -> None:
    """The normaliser is a log-sum-exp: scores of a thousand give finite nats and gradients."""
    hidden, head, _, target, weight = _case()
    hidden = (1e3 * hidden).requires_grad_(True)
    loss, nll = token_loss(hidden, head, target, weight)
    loss.backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert torch.isfinite(nll).all()
    assert torch.isfinite(hidden.grad).all()


def test_bfloat16_is_scored_in_float32() -> None:
    """bfloat16 states give float32 nats near those of float32, and bfloat16 gradients."""
    hidden, head, _, target, weight = _case(dtype=torch.bfloat16)
    hidden.requires_grad_(True)
    loss, nll = token_loss(hidden, head, target, weight)
    loss.backward()  # type: ignore[no-untyped-call]
    exact = torch.nn.functional.cross_entropy(hidden.detach().float() @ head.float().T, target, reduction="none")
    assert nll.dtype == torch.float32
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.bfloat16
    assert torch.allclose(nll, exact, atol=0.1)


def test_nothing_to_predict_costs_nothing() -> None:
    """An empty batch has the loss 0 and gradients of 0."""
    hidden, head, _, target, weight = _case(n=23)
    states = hidden[:0].clone().requires_grad_(True)
    loss, nll = token_loss(states, head, target[:0], weight[:0])
    loss.backward()  # type: ignore[no-untyped-call]
    assert (float(loss.detach()), len(nll)) == (0.0, 0)
