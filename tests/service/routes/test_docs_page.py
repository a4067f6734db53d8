"""The page of the API."""

import re

from starlette.testclient import TestClient


def test_page_loads_from_this_service_alone(client: TestClient) -> None:
    """Every address of the page is one of this service's own, and the policy lets a browser take no other."""
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    addresses = re.findall(r"(?:src|href)=\"([^\"]*)\"", page.text)
    assets = [address for address in addresses if address != "data:,"]
    assert len(assets) == 3
    sizes = []
    for address in assets:
        assert re.fullmatch(r"docs/[a-z.-]+\?[0-9.]+", address)
        answer = client.get(f"/{address}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] in ("text/css", "text/javascript")
        assert answer.headers["cache-control"] == "public, max-age=86400"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "@import" not in answer.text
        sizes.append(len(answer.content))
    assert max(sizes) > 1_000_000  # the whole of swagger-ui
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert re.findall(r"<script(?! src=)|<style| on[a-z]+=", page.text) == []


def test_nothing_else_lies_beside_the_page(client: TestClient) -> None:
    """Other files of the package, and paths out of it, are not served."""
    for name in ("redoc.standalone.js", "favicon.png", "..%2f__init__.py", "../__init__.py", "start.js/"):
        assert client.get(f"/docs/{name}").status_code == 404
    assert client.get("/redoc").status_code == 404
    assert client.get("/docs").headers["cache-control"] == "no-store"
