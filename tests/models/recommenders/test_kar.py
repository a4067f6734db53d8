"""The adaptor computes its formula, its branches do not mix, and the network is a DCN over what it says."""

from itertools import product
from math import exp

import numpy as np
import pytest
import torch

from tests.models.small_kar import ADAPTOR, SIZES, requests, small_kar
from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.kar import AdaptorShape, Branch, KarDCN, KarShape
from userip.models.recommenders.layers import NetworkShape


def _by_loops(model: KarDCN, vector: list[float], branch: Branch) -> list[float]:
    """a_t of one vector, straight from the formula, number by number."""
    state = {name: value.tolist() for name, value in model.adaptor.state_dict().items()}
    experts = []
    for part, count in (("shared", ADAPTOR.shared), (f"own.{branch}", ADAPTOR.dedicated)):
        for e in range(count):
            rows = range(e * ADAPTOR.hidden, (e + 1) * ADAPTOR.hidden)
            weight, bias = state[f"{part}.first.weight"], state[f"{part}.first.bias"]
            inner = [max(0.0, bias[r] + sum(w * x for w, x in zip(weight[r], vector, strict=True))) for r in rows]
            weight, bias = state[f"{part}.second_weight"][e], state[f"{part}.second_bias"][e][0]
            outs = range(ADAPTOR.out)
            experts.append([max(0.0, bias[o] + sum(h * weight[i][o] for i, h in enumerate(inner))) for o in outs])
    weight, bias = state[f"gate.{branch}.weight"], state[f"gate.{branch}.bias"]
    opened = [
        exp(b + sum(w * x for w, x in zip(row, vector, strict=True))) for row, b in zip(weight, bias, strict=True)
    ]
    return [sum(g * e[o] for g, e in zip(opened, experts, strict=True)) / sum(opened) for o in range(ADAPTOR.out)]


@pytest.mark.parametrize("branch", ["user", "item"])
def test_the_adaptor_is_its_formula(branch: Branch) -> None:
    """Gated sum of two-layer experts, shared ones first: equal to loops over single numbers."""
    model = small_kar(seed=1)
    vectors = model.user_vectors[:6]
    expected = [_by_loops(model, vector, branch) for vector in vectors.tolist()]
    assert np.std(expected, axis=0).min() > 1e-3, "an adaptor that says the same of all would agree with anything"
    with torch.no_grad():
        np.testing.assert_allclose(model.adaptor(vectors, branch).numpy(), expected, rtol=0, atol=1e-5)


def test_x0_is_fields_then_user_then_item() -> None:
    """With plain DCN weights over fields of that width, the same logits: a_user and a_item are two more parts."""
    model = small_kar(seed=2)
    rows = torch.from_numpy(requests(model, seed=2).rows)
    plain = DCN(NetworkShape((1,), embedding=model.shape.width)).eval()
    shared = {name: value for name, value in model.state_dict().items() if not name.startswith(("adaptor", "emb"))}
    plain.load_state_dict(shared, strict=False)
    with torch.no_grad():
        a_user = model.adaptor(model.user_vectors[rows[:, -2]], "user")
        a_item = model.adaptor(model.item_vectors[rows[:, -1]], "item")
        starts = np.cumsum([0, *SIZES[:-1]])
        fields = [model.embedding.weight[rows[:, f] + int(start)] for f, start in enumerate(starts)]
        expected = plain.forward_embedded(torch.cat([*fields, a_user, a_item], dim=1))
        torch.testing.assert_close(model(rows), expected, rtol=0, atol=1e-5)


def test_the_branches_are_separable() -> None:
    """What is made of a user does not depend on the item, bit for bit, nor the other way round; the logit on both."""
    model = small_kar(seed=3)
    parts: list[torch.Tensor] = []
    model.adaptor.register_forward_hook(lambda _, args, out: parts.append(out))
    pairs = torch.tensor([[0] * len(SIZES) + [user, item] for user, item in product(range(1, 9), range(1, 9))])
    with torch.no_grad():
        before = model(pairs)
        model.item_vectors.copy_(torch.randn_like(model.item_vectors))
        after = model(pairs)
    assert torch.equal(parts[0], parts[2]), "a_user moved with the item's vector"
    assert not torch.equal(parts[1], parts[3])
    assert not torch.equal(before, after)


def test_every_part_is_trained() -> None:
    """One click's loss moves the experts of both branches, the shared ones, the gates and the fields; no vector."""
    model = small_kar(seed=4).train()
    model(torch.from_numpy(requests(model).rows)).sum().backward()
    for name, value in model.named_parameters():
        assert value.grad is not None, name
        # The last linear layer before a BatchNorm has a bias that the norm takes out again.
        assert value.grad.abs().max() > 0 or (name.startswith("mlp") and name.endswith("bias")), name
    assert not {"user_vectors", "item_vectors"} & set(model.state_dict())


def test_the_size_is_that_of_the_published_adaptor() -> None:
    """KAR's own sizes (768-d vectors, 2 shared and 5 experts per branch) have 1,241,486 adaptor weights."""
    shape = AdaptorShape(vector=768, shared=2, dedicated=5, hidden=128, out=32)
    model = KarDCN(KarShape((3,), adaptor=shape), torch.zeros(1, 768), torch.zeros(1, 768))
    assert sum(value.numel() for value in model.adaptor.parameters()) == 1_241_486


def test_what_does_not_fit_is_refused() -> None:
    """Vectors of another width, rows without the two columns of vectors, and an adaptor without experts."""
    with pytest.raises(ValueError, match=r"items has shape \(2, 3\), expected \[n, 12\]"):
        KarDCN(KarShape((3,), adaptor=ADAPTOR), torch.zeros(2, 12), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="rows have 6 columns, expected 6 fields and 2"):
        small_kar()(torch.zeros(2, 6, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least 1"):
        KarDCN(KarShape((3,), adaptor=AdaptorShape(shared=0)), torch.zeros(1, 384), torch.zeros(1, 384))
