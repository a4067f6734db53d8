"""What the benchmark of inference counts, and that the naive loop does the same task."""

from pathlib import Path

import numpy as np
import pytest
import torch

from userip.loadtests.scale.inference import benchmark, naive_model, useful
from userip.loadtests.scale.inference_memory import scale
from userip.loadtests.scale.naive_inference import naive_steps
from userip.loadtests.scale.simulated_language import simulated_histories, simulated_language
from userip.training.config import TrainConfig, load_config
from userip.training.crossfit.histories import Histories
from userip.training.methods.userip.e_step import user_nll

SMALL = load_config(
    environment={},
    settings=("language.layers=2", "language.width=32", "language.heads=2", "language.vocabulary=400"),
)


def test_useful_work_by_hand() -> None:
    """Two users, one without history: 4 FLOP per block weight and token that is no padding, and per head weight and
    token that is scored; of title tokens every second counts where every second is scored, polarity always."""
    lm, reader, _ = simulated_language(SMALL, 0, items=40)
    some = Histories(np.array([0, 2, 2]), np.array([3, 5]), np.array([True, False]))
    lengths = [int(reader.texts.length[1, 3]), int(reader.texts.length[0, 5])]
    tokens = 2 * len(reader.prompt.tokens) + sum(lengths)
    blocks = 2 * 12 * 32 * 32  # attention 4 d^2 and feed-forward 8 d^2 per layer
    polar = int(reader.texts.polar[1, 3].sum() + reader.texts.polar[0, 5].sum())
    every = useful(lm, reader, some)
    assert every.user_steps == 2
    assert every.tokens == tokens
    assert every.flop == 4 * (blocks * tokens + 32 * len(lm.table) * sum(lengths))
    half = useful(lm, reader, some, stride=2)
    scored = (every.flop - half.flop) / (4 * 32 * len(lm.table))
    assert scored == pytest.approx((sum(lengths) - polar) / 2, abs=2)


def test_the_naive_loop_goes_down_the_same_gradient() -> None:
    """Its gradient on z is that of the E step's likelihood, for the rows of the batch; other rows have none."""
    language = simulated_language(SMALL, 0, items=40)
    reader, plain = language.prompts, naive_model(language.lm)
    histories = simulated_histories(6, 40, 0)
    z = (0.1 * torch.randn(6, 2, 1, 32, generator=torch.Generator().manual_seed(0))).requires_grad_(True)
    before, members = z.detach().clone(), np.array([4, 1])
    naive_steps(plain, reader, histories, z, torch.optim.SGD([z], lr=1.0), [members])
    own = before[members].requires_grad_(True)
    batch = reader.batch(histories.of(members))
    user_nll(language._replace(lm=plain), batch, own, batch.weight)[0].sum().backward()  # type: ignore[no-untyped-call]
    assert own.grad is not None
    assert torch.allclose(before[members] - z.detach()[members], own.grad, rtol=1e-3, atol=1e-4)
    rest = [0, 2, 3, 5]
    assert torch.equal(z.detach()[rest], before[rest])


def test_it_prints_every_figure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates of the three loops, the peak of both dtypes, and the two ratios of ours against the naive loop."""
    monkeypatch.setattr("userip.loadtests.scale.inference.load_config", lambda file: SMALL)
    monkeypatch.setattr("userip.loadtests.scale.inference.PEAK_SIZE", 64)
    benchmark(run=None, users=40, timed=8, turns=1, seed=0)
    out = capsys.readouterr().out
    for said in ("user-steps/s", "users/s", "tokens/s", "useful GFLOP/s", "of the peak", "matmul peak, bfloat16"):
        assert said in out
    assert out.count("against naive") == 4


def test_the_scale_run_works_on_few_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every view gets a code: the user's whole history and that without each of two folds; nothing is left behind."""

    def small() -> TrainConfig:
        infer = {"steps": 0, "shared_steps": 0, "probe_users": 0}
        quantize = {"em_rounds": 0, "surrogate": False, "click_weight": 0.0, "restarts": 1}
        said = SMALL.model_dump() | {"language": SMALL.language.model_dump() | {"steps": 1}}
        said["infer"] |= infer
        said["quantize"] |= quantize
        return TrainConfig.model_validate(said)

    monkeypatch.setattr("userip.loadtests.scale.inference_memory.scale_config", small)
    scale(users=120, directory=tmp_path, seed=0)
    out = capsys.readouterr().out
    assert "120 users" in out
    assert "codes of 360 views" in out
    assert not list(tmp_path.iterdir())
