"""The page /docs: swagger-ui from an installed package, so that it works where no other server can be reached."""

from importlib.metadata import version
from pathlib import Path
from typing import Final

import fastapi_offline
from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

_FROM: Final = Path(fastapi_offline.__file__).parent / "static"
_ASSETS: Final = frozenset({"swagger-ui.css", "swagger-ui-bundle.js"})
# Addresses are relative, for gateways that put a path before them; a new version is another address.
_VERSION: Final = version("fastapi-offline")
_PAGE: Final = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>UserIP</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="docs/swagger-ui.css?{_VERSION}"></head>
<body><div id="page"></div>
<script src="docs/swagger-ui-bundle.js?{_VERSION}"></script>
<script src="docs/start.js?{_VERSION}"></script></body></html>
"""
_START: Final = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null});\n'
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_KEPT: Final = {"cache-control": "public, max-age=86400"}


def docs_page() -> APIRouter:
    """The page and what it loads."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/docs", _page, response_class=Response)
    router.add_api_route("/docs/{name}", _asset, response_class=Response)
    return router


async def _page() -> Response:
    return Response(_PAGE, media_type="text/html", headers={"content-security-policy": _POLICY})


async def _asset(name: str) -> Response:
    if name == "start.js":
        return Response(_START, media_type="text/javascript", headers=_KEPT)
    if name not in _ASSETS:
        raise HTTPException(404)
    return FileResponse(_FROM / name, headers=_KEPT)
