"""The messages of the API are for both ends: a client takes them without the service."""

import subprocess
import sys
from typing import get_type_hints

import msgspec

from tests.fixtures.process import environment
from userip.release.manifest import RELEASE_NAME
from userip.scoring.messages import MESSAGES, ReloadRequest

CODE = "import sys, userip.scoring.messages; print(' '.join(sys.modules))"
HEAVY = {"numpy", "pydantic", "fastapi", "starlette", "onnxruntime", "orjson", "structlog", "redis", "lmdb"}


def test_messages_need_msgspec_and_nothing_else() -> None:
    """Importing them loads no settings, no numpy, no web framework, and no other module of ours."""
    done = subprocess.run([sys.executable, "-c", CODE], env=environment(), capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "msgspec" in loaded
    assert not loaded & HEAVY
    assert {name for name in loaded if name.startswith("userip")} == {
        "userip",
        "userip.scoring",
        "userip.scoring.messages",
    }


def test_a_release_is_asked_for_by_a_name_that_a_manifest_can_have() -> None:
    """The two patterns are one."""
    hint = get_type_hints(ReloadRequest, include_extras=True)["release"]
    assert f"'{RELEASE_NAME}'" in repr(hint)


def test_every_message_has_a_schema_of_its_own_name() -> None:
    """The OpenAPI document refers to them by these names."""
    _, schemas = msgspec.json.schema_components(MESSAGES)
    assert {message.__name__ for message in MESSAGES} <= set(schemas)
