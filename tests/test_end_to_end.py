"""From a simulation to answers over HTTP: the service that people talk to is as good as metrics.json says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from tests.fixtures.process import ServeProcess
from tests.fixtures.runs import Once, Run, copy_steps
from tests.training.margins import CHANCE, Auc
from tests.training.tiny_run import HASTE, PROFILE_STEPS, ROUNDS, tiny_config, train
from userip.bank.opening import open_bank
from userip.ops.publish import publish_release
from userip.training.data.dataset import Dataset
from userip.training.fold_in import fold_in_file
from userip.training.threads import one_thread

BATCH = 64  # requests of one /score/batch
Trained = tuple[Dataset, Path]


@pytest.fixture(scope="module", params=[("easy", "dcn"), ("held_out", "dcn"), ("held_out", "dcnv2")], ids="-".join)
def trained(request: pytest.FixtureRequest, once: Once) -> Trained:
    """A run on the random split with a user field, and one on held-out users without: the two ways to serve.

    A DCN is served as a folded graph, a DCNv2 as a plain one.
    """
    split, recommender = request.param
    profiles: Run = request.getfixturevalue(split)
    settings = () if split == "easy" else (*HASTE, *ROUNDS, "fit.user_field=false")

    def make(place: Path) -> None:
        copy_steps(profiles.path, place / "run", *PROFILE_STEPS)
        train(
            profiles.dataset,
            place / "run",
            tiny_config(place, *settings, f"fit.recommender={recommender}"),
            ["fit", "export"],
        )

    return profiles.dataset, once(f"end-to-end-{split}-{recommender}", make) / "run"


@pytest.fixture(params=["lmdb", "redis"])
def bank_url(request: pytest.FixtureRequest, trained: Trained, tmp_path: Path) -> str:
    """A bank of each kind that holds the run's release as its active one."""
    url = f"lmdb://{tmp_path}/bank" if request.param == "lmdb" else str(request.getfixturevalue("redis_url"))
    bank = open_bank(url)
    try:
        publish_release(trained[1] / "release", bank)
    finally:
        bank.close()
    return url


@pytest.fixture
def service(trained: Trained, bank_url: str, tmp_path: Path) -> Iterator[ServeProcess]:
    """The release, served from that bank by a process of its own."""
    release, log = trained[1] / "release", tmp_path / "serve.log"
    with ServeProcess(release, bank_url, log, env={"OMP_NUM_THREADS": "1"}) as process:
        yield process


def test_auc_over_http_is_that_of_metrics_json(trained: Trained, service: ServeProcess) -> None:
    """The AUC of the scores that the service gives for the test rows is the one that training measured."""
    dataset, run = trained
    test = dataset.final_eval()
    per_user = test.group_by("user_id", maintain_order=True).agg("item_id", "label")
    scores: list[float] = []
    for part in per_user.iter_slices(BATCH):
        requests = [{"user_id": user, "item_ids": items} for user, items, _ in part.iter_rows()]
        answer = service.client.post("/score/batch", json={"requests": requests})
        assert answer.status_code == 200
        for request, response in zip(requests, answer.json()["responses"], strict=True):
            assert response["profile"] == "known"  # held-out users too: their codes come from their history
            assert response["unknown_items"] == []
            assert len(response["scores"]) == len(request["item_ids"])
            scores += response["scores"]
    labels = per_user.explode("item_id", "label")["label"].to_list()
    assert len(labels) == test.height
    told = json.loads((run / "release" / "metrics.json").read_bytes())["test"]["auc"]
    assert roc_auc_score(labels, scores) == pytest.approx(told, abs=1e-4)
    assert Auc.of(labels, told).beats(CHANCE)  # the agreement is about something


def test_single_requests_agree_with_batches(trained: Trained, service: ServeProcess) -> None:
    """POST /score gives what /score/batch gives, and /profile the codes of codes.parquet."""
    dataset, run = trained
    users = dataset.final_eval()["user_id"].unique().sort().to_list()[:5]
    items = dataset.items["item_id"].to_list()[:20]
    requests = [{"user_id": user, "item_ids": items} for user in users]
    batch = service.client.post("/score/batch", json={"requests": requests}).json()["responses"]
    codes = pl.read_parquet(run / "quantize" / "codes.parquet").filter(pl.col("fold") == -1)
    for request, expected in zip(requests, batch, strict=True):
        single = _json(service.client.post("/score", json=request))
        assert single["scores"] == pytest.approx(expected["scores"], abs=1e-6)
        profile = _json(service.client.get(f"/profile/{request['user_id']}"))
        row = codes.filter(pl.col("user_id") == request["user_id"]).row(0, named=True)
        assert {code["facet"]: code["code"] for code in profile["codes"]} == {
            facet: row[facet] for facet in ("hobby", "background")
        }


def test_a_folded_in_user_is_known_at_once(trained: Trained, service: ServeProcess, bank_url: str) -> None:
    """A stranger gets default scores; after `fold-in` with ten interactions the running service knows him."""
    dataset, run = trained
    items = dataset.items["item_id"].to_list()[:20]
    request = {"user_id": "stranger", "item_ids": items}
    before = _json(service.client.post("/score", json=request))
    assert before["profile"] == "default"
    assert service.client.get("/profile/stranger").status_code == 404
    file = service.log.parent / "new.csv"
    genre = pl.col("genre") == dataset.items["genre"][0]
    new = dataset.items.select(pl.lit("stranger").alias("user_id"), "item_id", label=genre)
    new.head(10).write_csv(file)
    with one_thread():
        assert fold_in_file(run, file, bank_url, None) == 1
    after = _json(service.client.post("/score", json=request))
    assert after["profile"] == "known"
    assert after["scores"] != before["scores"]
    assert {code["facet"] for code in _json(service.client.get("/profile/stranger"))["codes"]} == {
        "hobby",
        "background",
    }


def _json(response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 200
    content: dict[str, Any] = response.json()
    return content
