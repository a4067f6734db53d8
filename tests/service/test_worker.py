"""A worker process makes its application from its environment alone."""

import gc

import pytest
from starlette.testclient import TestClient

from tests.fixtures.tiny_release import TinyRelease
from userip.service.settings import Settings
from userip.service.worker import make_app


def test_worker_is_configured_by_its_environment(
    monkeypatch: pytest.MonkeyPatch, tiny: TinyRelease, lmdb_url: str
) -> None:
    """The settings that the parent hands over are the application's; memory is settled after warm-up."""
    settings = Settings(release_dir=tiny.path, bank_url=lmdb_url, max_candidates=2, log_level="error")  # type: ignore[arg-type]
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        with TestClient(make_app()) as client:
            assert gc.get_freeze_count() > frozen
            response = client.post("/score", json={"user_id": "u1", "item_ids": ["plain"] * 3})
            assert response.status_code == 422
            assert client.get("/readyz").json()["release"] == tiny.name
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
