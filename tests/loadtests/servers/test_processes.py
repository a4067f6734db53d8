"""The servers under test run as people run them."""

from pathlib import Path

import pytest

from userip.loadtests.errors import LoadTestError
from userip.loadtests.servers.processes import VARIED, serve
from userip.service.settings import Settings


def test_load_tests_vary_only_what_is_listed(tmp_path: Path) -> None:
    """Patience that a service in use does not have, as a longer queue, is refused, and so is no longer measured."""
    assert VARIED.keys() <= Settings.model_fields.keys()
    assert not [name for name in VARIED if name.endswith("_ms") or name.startswith(("max_", "queue", "access_log"))]
    with pytest.raises(LoadTestError, match=r"\['queue_delay_target_ms'\]"):
        serve("service", tmp_path, "lmdb:///nowhere", tmp_path / "log", (), "workers=2", "queue_delay_target_ms=10000")
