"""A service of another installation: started on a tiny release, asked once, stopped."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx2
import numpy as np
import pytest

from tests.fixtures.tiny_release import write_release
from userip.bank import open_bank
from userip.bank.release_records import ReleaseRecords


def environment(**settings: str) -> dict[str, str]:
    """As in an image: no settings of this shell."""
    dropped = ("USERIP_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)} | settings


def serve_and_score(
    command: Sequence[str], settings: Mapping[str, str], folder: Path, healthy: Callable[[], bool]
) -> None:
    """Publish a tiny release into an LMDB bank, start `command` on both, and check a known user's scores."""
    release, bank_url = write_release(folder / "release"), f"lmdb://{folder}/bank"
    bank = open_bank(bank_url)
    bank.publish(release.name, ReleaseRecords(["ann"], np.array([2], np.uint32), np.array([[1, 0, 1]], np.uint16)))
    bank.activate(release.name)
    bank.close()
    given = {**settings, "USERIP_RELEASE_DIR": str(release.path), "USERIP_BANK_URL": bank_url}
    log = folder / "log"
    with log.open("wb") as stream:
        service = subprocess.Popen(command, cwd=folder, env=given, stderr=stream)
    try:
        deadline = time.monotonic() + 120  # a busy machine compiles its libraries first
        while not healthy():
            assert service.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
        url = f"http://127.0.0.1:{settings['USERIP_PORT']}"
        answer = httpx2.post(f"{url}/score", json={"user_id": "ann", "item_ids": ["plain", "i5"]}).json()
        assert answer["profile"] == "known"
        assert answer["scores"] == pytest.approx(release.expected(["plain", "i5"], 2, (1, 0, 1)), abs=1e-6)
        assert httpx2.get(f"{url}/readyz").status_code == 200
    finally:
        service.terminate()
        assert service.wait(timeout=20) == 0
