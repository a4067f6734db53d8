"""Row 13: torch, the plain graph, the folded graph and the service give one score.

The first three are held together in tests/models/recommenders/test_dcn_graph.py; here the last is held to the first.
"""

from pathlib import Path

import numpy as np
from pydantic import SecretStr
from starlette.testclient import TestClient

from userip.bank import open_bank
from userip.loadtests.traffic.workload import population_of_release
from userip.loadtests.variants import build_variants
from userip.ops.publish import publish_release
from userip.service.app import create_app
from userip.service.settings import Settings


def test_row_13_the_served_score_is_that_of_the_network(tmp_path: Path) -> None:
    """Over HTTP, with records from the bank, within 1e-5 of torch; batched or not."""
    variant = build_variants(None, tmp_path, ["userip"], users=30, items=40)["userip"]
    url = f"lmdb://{tmp_path}/bank"
    bank = open_bank(url)
    publish_release(variant.release, bank)
    bank.close()
    population = population_of_release(variant.release)
    items = population.items[:20]
    settings = Settings(release_dir=variant.release, bank_url=SecretStr(url))
    with TestClient(create_app(settings)) as client:
        requests = [{"user_id": user, "item_ids": items} for user in population.users]
        batch = client.post("/score/batch", json={"requests": requests}).json()["responses"]
        for request, together in zip(requests, batch, strict=True):
            alone = client.post("/score", json=request).json()
            assert alone["profile"] == together["profile"] == "known"
            wanted = variant.oracle.scores(str(request["user_id"]), items)
            np.testing.assert_allclose(alone["scores"], wanted, rtol=0, atol=1e-5)
            np.testing.assert_allclose(together["scores"], wanted, rtol=0, atol=1e-5)
