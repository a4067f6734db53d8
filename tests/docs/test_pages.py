"""Pages that repeat what the code knows: settings, API, the table of contents."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.docs.settings_page import PATH, page
from tests.fixtures.json_schema import problems
from tests.fixtures.serving import Serve

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
ROUTES = re.findall(r"^\| `(\w+) (/\S*)` \| ([^|]+) \| ([^|]+) \|", API, flags=re.MULTILINE)
EXAMPLES = [
    (match.group(1), match.group(2), kind, text)
    for match in re.finditer(r"^## (\w+) (/\S*)\n(.*?)(?=^## |\Z)", API, flags=re.MULTILINE | re.DOTALL)
    for kind, text in re.findall(
        r"^```json (request|answer)\n(.*?)^```", match.group(3), flags=re.MULTILINE | re.DOTALL
    )
]


def test_page_of_settings_is_that_of_the_code() -> None:
    """docs/settings.md is what the settings say; make it again with `python -m tests.docs.settings_page`."""
    assert PATH.read_text(encoding="utf-8") == page()


@pytest.fixture
def document(serve: Serve, lmdb_url: str) -> Mapping[str, Any]:
    """The OpenAPI document of a service with keys and admin routes."""
    line = '"shop" = { sha256 = "' + "0" * 64 + '", scopes = ["score"] }'
    client = serve(lmdb_url, keys=line, admin_key="a-long-enough-key-for-this")
    return client.get("/openapi.json").json()  # type: ignore[no-any-return]


def test_routes_and_their_answers_are_documented(document: Mapping[str, Any]) -> None:
    """The table names every route of the OpenAPI document with its statuses and scope; each has a section."""
    code = {
        (method.upper(), path): (set(operation["responses"]), operation.get("security", [{}])[0].get("ApiKey"))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    scopes: dict[str, list[str] | None] = {"none": None, "any key": []}
    stated = {
        (method, path): (set(answers.strip().split(", ")), scopes.get(scope.strip(), [scope.strip().strip("`")]))
        for method, path, scope, answers in ROUTES
    }
    assert stated == code
    assert sorted(re.findall(r"^## (\w+) (/\S*)$", API, flags=re.MULTILINE)) == sorted(code)


@pytest.mark.parametrize(("method", "path", "kind", "text"), EXAMPLES)
def test_examples_fit_the_schemas(method: str, path: str, kind: str, text: str, document: Mapping[str, Any]) -> None:
    """Every example of a request or an answer is one that the OpenAPI document allows."""
    operation = document["paths"][path][method.lower()]
    content = operation["requestBody" if kind == "request" else "responses"]
    if kind == "answer":
        content = content["200"]
    assert problems(json.loads(text), content["content"]["application/json"]["schema"], document) == []


def test_example_of_a_problem_fits_its_schema(document: Mapping[str, Any]) -> None:
    """The error shown is one that the document allows."""
    (text,) = re.findall(r"^```json problem\n(.*?)^```", API, flags=re.MULTILINE | re.DOTALL)
    assert problems(json.loads(text), {"$ref": "#/components/schemas/Problem"}, document) == []


def test_index_names_every_page() -> None:
    """docs/index.md leads to every page beside it."""
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert set(re.findall(r"\]\((\w[\w-]*\.md)\)", text)) == pages
