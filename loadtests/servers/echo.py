"""The floor that `/score` is measured against: a FastAPI route that reads the same body and answers with ready bytes.

`python -m userip.loadtests.servers.echo --answer FILE` serves it under uvicorn as `service.server` serves ours.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI, Request, Response

from userip.loadtests.servers.redis_server import free_port


def make_app(answer: bytes) -> FastAPI:
    """POST /score reads the whole body and gives `answer`; GET /readyz gives 200 once it serves."""
    app = FastAPI(openapi_url=None)

    @app.post("/score")
    async def score(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    @app.get("/readyz")
    async def ready() -> Response:
        return Response(b'{"ready":true}', media_type="application/json")

    return app


def main(
    answer: Annotated[Path, typer.Option(help="A file whose bytes every answer has.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 0,
) -> None:
    """Serve until SIGTERM or SIGINT; the first line on stdout is the URL."""
    try:
        content = answer.read_bytes()
    except OSError as error:
        print(f"echo: --answer {answer}: {error.strerror}; name a file with the answer's bytes", file=sys.stderr)
        raise typer.Exit(2) from None
    port = port or free_port()
    print(f"http://{host}:{port}", flush=True)
    uvicorn.run(
        make_app(content),
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    typer.run(main)
