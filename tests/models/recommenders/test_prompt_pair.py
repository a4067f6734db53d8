"""Two prompt vectors and their product."""

import torch

from userip.models.recommenders.prompt_pair import PromptPair


def _pair() -> PromptPair:
    torch.manual_seed(0)
    pair = PromptPair(users=4, items=5, width=6, reach=0.5, dropout=0.5)
    for bias in pair.biases.parameters():
        torch.nn.init.normal_(bias)
    torch.nn.init.constant_(pair.bias, 0.3)
    return pair.eval()


def test_the_logit_is_a_product_and_three_biases() -> None:
    """<u, i> + b_u + b_i + b, against a loop over the dimensions."""
    pair = _pair()
    rows = torch.tensor([[1, 2], [3, 0], [0, 4]])
    vectors = [table.tolist() for table in pair.vectors.parameters()]
    biases = [table.tolist() for table in pair.biases.parameters()]
    wanted = [
        sum(a * b for a, b in zip(vectors[0][u], vectors[1][i], strict=True)) + biases[0][u][0] + biases[1][i][0] + 0.3
        for u, i in rows.tolist()
    ]
    torch.testing.assert_close(pair(rows), torch.tensor(wanted))
    torch.testing.assert_close(pair.prompts(rows)[1], torch.tensor([vectors[0][3], vectors[1][0]]))


def test_the_unknown_one_is_the_mean_of_the_known() -> None:
    """Row 0 of all four tables; the others stay."""
    pair = _pair()
    before = {name: value.clone() for name, value in pair.state_dict().items()}
    pair.settle_unknown()
    for name, value in pair.state_dict().items():
        if value.ndim == 2:
            rows = before[name].tolist()[1:]
            mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
            torch.testing.assert_close(value[0], torch.tensor(mean))
            assert torch.equal(value[1:], before[name][1:])
