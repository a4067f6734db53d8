"""The releases that are compared: served scores against torch, what differs and what does not, resuming."""

import contextlib
import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from tests.training.toy import FIELDS, toy_dataset
from userip.bank.opening import open_bank
from userip.loadtests.errors import BenchInputError
from userip.loadtests.variants import NAMES, Variant, build_variants
from userip.ops.publish import publish_release
from userip.release.manifest import read_manifest
from userip.service.app import create_app
from userip.service.settings import Settings

USERS, ITEMS = 60, 40
Request = tuple[str, list[str]]


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Variant]:
    return build_variants(None, tmp_path_factory.mktemp("variants"), NAMES, seed=3, users=USERS, items=ITEMS)


def _served(variant: Variant, bank: Path, requests: list[Request]) -> list[list[float]]:
    """What the service answers over a bank in `bank`."""
    url = f"lmdb://{bank}"
    with contextlib.closing(open_bank(url)) as opened:
        publish_release(variant.release, opened)
    settings = Settings(
        release_dir=variant.release, bank_url=SecretStr(url), access_log_sample_rate=0, log_level="error"
    )
    with TestClient(create_app(settings)) as client:
        asked = [{"user_id": user, "item_ids": items} for user, items in requests]
        answer = client.post("/score/batch", json={"requests": asked}).raise_for_status()
        return [response["scores"] for response in answer.json()["responses"]]


def _requests(users: list[str], items: list[str]) -> list[Request]:
    return [(user, items) for user in [*users, "nobody"]]


@pytest.mark.parametrize("name", NAMES)
def test_the_service_answers_what_torch_says(variants: dict[str, Variant], name: str, tmp_path: Path) -> None:
    """Every variant, published and scored by the service's code: within 1e-5, strangers and unknown items too."""
    items = [f"item-{number:02d}" for number in range(ITEMS)] + ["nothing"]
    requests = _requests([f"user-{number:02d}" for number in (0, 1, 31, USERS - 1)], items)
    oracle = variants[name].oracle
    for request, scores in zip(requests, _served(variants[name], tmp_path, requests), strict=True):
        np.testing.assert_allclose(scores, oracle.scores(*request), atol=1e-5, rtol=0)


def test_a_data_set_gives_ids_and_fields(tmp_path: Path) -> None:
    """Users, items and all fields come from the directory; the served scores are torch's there too."""
    dataset = toy_dataset(tmp_path / "set", split="users", fields=FIELDS, users=60)
    built = build_variants(tmp_path / "set", tmp_path / "out", ("userip", "kar-online"), seed=1)
    rows = dataset.rows("train", "history")
    users, items = rows["user_id"].unique().sort().to_list(), dataset.items["item_id"].to_list()
    requests = _requests(users[:5], items)
    for name, variant in built.items():
        profiles = pl.read_parquet(variant.release / "profiles.parquet")
        assert profiles["user_id"].to_list() == users
        assert {field.name for field in FIELDS} < {field.name for field in read_manifest(variant.release).fields}
        for request, scores in zip(requests, _served(variant, tmp_path / name, requests), strict=True):
            np.testing.assert_allclose(scores, variant.oracle.scores(*request), atol=1e-5, rtol=0)


def test_scores_depend_on_user_and_item_and_are_spread(variants: dict[str, Variant]) -> None:
    """Nobody's scores pass for another's: those of all users differ, and fill (0.05, 0.95)."""
    items = [f"item-{number:02d}" for number in range(ITEMS)]
    for name, variant in variants.items():
        scores = np.stack([variant.oracle.scores(f"user-{number:02d}", items) for number in range(USERS)])
        assert 0.02 < scores.min() < 0.25, name
        assert 0.75 < scores.max() < 0.98, name
        for one, other in itertools.pairwise(scores):
            assert np.abs(one - other).max() > 1e-3, name
        assert (scores.std(axis=1) > 1e-3).all(), name


def test_a_text_and_a_code_matter(variants: dict[str, Variant]) -> None:
    """Two users who differ in nothing but the stored codes or the vector get other scores."""
    items = [f"item-{number:02d}" for number in range(ITEMS)]
    for name, columns in (("userip", 2), ("kar-online", 1)):
        oracle = variants[name].oracle
        same = oracle.user_rows.copy()
        same[2] = same[1]
        same[2, :columns] = same[1, :columns] % 16 + 1 if name == "userip" else same[1, :columns]
        if name == "kar-online":
            same[2, -1] = same[1, -1] + 1
        changed = type(oracle)(**{**vars(oracle), "user_rows": same})
        assert np.abs(changed.scores("user-00", items) - changed.scores("user-01", items)).max() > 1e-3


def test_the_variants_differ_in_nothing_else(variants: dict[str, Variant]) -> None:
    """The same users, items and fields, but for the codes; a vector per user in KAR's alone."""
    manifests = {name: read_manifest(variant.release) for name, variant in variants.items()}
    for name, manifest in manifests.items():
        assert manifest.method["name"] == name
        assert [field for field in manifest.fields if field.source != "code"] == list(manifests["dcn"].fields)
        assert (manifest.users, manifest.items) == (USERS, ITEMS)
    assert [facet.name for facet in manifests["userip"].facets] == ["background", "hobby"]
    vectors = {"dcn": 0, "userip": 0, "kar-online": 384, "kar-prestored": 32}
    assert {name: manifest.vector for name, manifest in manifests.items()} == vectors


def test_the_modes_of_kar_score_the_same(variants: dict[str, Variant], tmp_path: Path) -> None:
    """What is stored and what is computed differ, the probabilities do not."""
    requests = _requests(["user-07"], ["item-01", "item-20", "item-39"])
    modes = [_served(variants[name], tmp_path / name, requests) for name in NAMES if name.startswith("kar")]
    assert len(modes) == 2
    for other in modes[1:]:
        np.testing.assert_allclose(other, modes[0], atol=1e-5, rtol=0)


def test_the_same_arguments_give_the_same_release_and_a_finished_one_is_kept(tmp_path: Path) -> None:
    """Names, which hold a digest of everything, agree; the second call writes no file of a whole release."""
    first = build_variants(None, tmp_path / "a", ("userip",), seed=3, users=20, items=20)["userip"].release
    again = build_variants(None, tmp_path / "b", ("userip",), seed=3, users=20, items=20)["userip"].release
    other = build_variants(None, tmp_path / "c", ("userip",), seed=4, users=20, items=20)["userip"].release
    names = [read_manifest(release).release for release in (first, again, other)]
    assert names[0] == names[1] != names[2]

    def changes() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in first.iterdir()}

    before = changes()
    build_variants(None, tmp_path / "a", ("userip",), seed=3, users=20, items=20)
    assert changes() == before
    (first / "item_rows.npy").write_bytes(b"cut")
    build_variants(None, tmp_path / "a", ("userip",), seed=3, users=20, items=20)
    assert read_manifest(first).release == names[0]  # damaged, so written again: hashes and name as before
    build_variants(None, tmp_path / "a", ("userip",), seed=3, users=21, items=20)
    assert read_manifest(first).users == 21


def test_an_unknown_variant_is_named(tmp_path: Path) -> None:
    """The error lists those that there are."""
    with pytest.raises(BenchInputError, match=r"'kar': there are dcn, userip, kar-online"):
        build_variants(None, tmp_path, ("dcn", "kar"))
