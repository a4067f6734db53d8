"""The contract of every network: of Table 2, and of the library's versions that ours are checked with."""

import pytest
import torch

from tests.training.margins import CHANCE, Auc
from tests.training.recommender.cross_checks import CROSS_CHECKS
from tests.training.toy import FIELDS, ceiling, toy_codes, toy_dataset
from userip.models.recommenders.layers import Network, NetworkShape
from userip.training.data.dataset import Dataset
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.fit import fit_recommender
from userip.training.recommender.networks import NETWORKS

ALL = NETWORKS | CROSS_CHECKS
QUICK = RecommenderConfig(batch=256, epochs=12, dropout=0.2)
SHAPE = NetworkShape((40, 30, 4), embedding=8, cross_layers=2, mlp=(6, 5))

every_network = pytest.mark.parametrize("network", ALL.values(), ids=ALL)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "random", fields=FIELDS[:1], users=90)


def _built(network: Network, seed: int, shape: NetworkShape = SHAPE) -> torch.nn.Module:
    torch.manual_seed(seed)
    return network(shape)


def _trained_looking(network: Network, shape: NetworkShape = SHAPE) -> torch.nn.Module:
    model = _built(network, 0, shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    return model.eval()


def _rows(n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.stack([torch.randint(size, (n,), generator=generator) for size in SHAPE.field_sizes], dim=1)


def test_table_2_is_complete() -> None:
    """The eleven recommenders that the paper compares with."""
    table = "ffm afm fibinet difm afn deepfm autoint onn pnn dcnv2 dcn"
    assert set(NETWORKS) == set(table.split())


@every_network
@pytest.mark.parametrize("embedding", [8, 3])
def test_rows_become_logits(network: Network, embedding: int) -> None:
    """float32 [B] for any B, unbounded in both directions, and a row's logit does not depend on its company."""
    model = _trained_looking(network, NetworkShape(SHAPE.field_sizes, embedding=embedding, cross_layers=2, mlp=(6, 5)))
    logits = model(_rows(50)).detach()
    assert logits.shape == (50,)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert logits.max() > 1 or logits.min() < 0, "a sigmoid is at work"
    for n in (1, 2):
        torch.testing.assert_close(model(_rows(50)[:n]).detach(), logits[:n], rtol=1e-4, atol=1e-4)


@every_network
def test_every_field_counts(network: Network) -> None:
    """Another row in any one of the fields moves logits."""
    model = _trained_looking(network)
    rows = _rows(50)
    before = model(rows).detach()
    for field, size in enumerate(SHAPE.field_sizes):
        moved = rows.clone()
        moved[:, field] = (rows[:, field] + 1) % size
        assert float((model(moved).detach() - before).abs().max()) > 1e-3


@every_network
def test_the_seed_decides_the_start(network: Network) -> None:
    """The same seed gives the same weights, another seed others: five seeds are five networks."""
    first, again, other = (list(_built(network, seed).state_dict().values()) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@every_network
def test_planted_tastes_are_learned(network: Network, dataset: Dataset) -> None:
    """Through the one loop, with codes that know the taste, on unseen pairs: as well as who knows nothing else."""
    fitted = fit_recommender(dataset, toy_codes(dataset), QUICK, seed=0, network=network)
    valid = dataset.rows("valid")
    found = Auc.of(valid["label"], fitted.evaluate(valid)["auc"])
    assert found.beats(CHANCE)
    assert not ceiling(valid).beats(found)
    pairs = dataset.test_pairs().head(40)
    assert fitted.predict(pairs).shape == (40,)


@every_network
def test_the_same_seed_predicts_the_same(network: Network, dataset: Dataset) -> None:
    """Bit for bit, although the library's constructors set the global generator; another seed predicts otherwise."""
    short = QUICK.model_copy(update={"epochs": 1})
    pairs = dataset.test_pairs().head(50)
    first, again, other = (
        fit_recommender(dataset, toy_codes(dataset), short, seed, network=network).predict(pairs) for seed in (1, 1, 2)
    )
    assert first.tobytes() == again.tobytes()
    assert (first != other).any()
