"""Row 10: requests made from the OpenAPI document, good and bad ones, find no fault and no undocumented answer."""

from collections.abc import Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance
from starlette.testclient import TestClient

from tests.fixtures.serving import Serve

OPERATIONS = [
    ("POST", "/score"),
    ("POST", "/score/batch"),
    ("GET", "/profile/{user_id}"),
    ("GET", "/release"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("POST", "/admin/reload"),
]
FEW = settings(
    max_examples=30,
    deadline=None,
    database=None,
    derandomize=True,  # the same requests every time
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def api(serve: Serve, lmdb_url: str) -> TestClient:
    """The application with an admin key, so that the admin routes are there."""
    return serve(lmdb_url, admin_key="key", max_candidates=20, max_batch=4, max_id_length=30)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_row_10_no_findings(api: TestClient, method: str, path: str, mode: GenerationMode) -> None:
    """No 5xx; status, media type, headers and body of every answer are as documented; what is bad is refused."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", api.app)
    operation = schema[path][method]

    @FEW
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        answer = case.call(headers={"x-api-key": "key"})
        refused = [problem["field"] for problem in answer.json()["errors"]] if answer.status_code == 422 else []
        # Which context fields there are is said by the release, not by the document.
        of_release = bool(refused) and all(field.startswith(("context.", "requests[")) for field in refused)
        # The key is right, and ours: what a wrong one gets is tested with the keys.
        excluded = [ignored_auth, *([positive_data_acceptance] if of_release else [])]
        case.validate_response(answer, excluded_checks=excluded)

    try:
        ask()
    except Exception as error:
        if type(error).__name__ not in ("Unsatisfiable", "SkipTest"):  # nothing can be wrong about a GET without input
            raise


def test_row_10_every_operation_is_asked(api: TestClient) -> None:
    """The list above is the document's."""
    document: Mapping[str, Any] = api.get("/openapi.json", headers={"x-api-key": "key"}).json()
    documented = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert documented - set(OPERATIONS) <= {("POST", "/admin/rollback")}
