"""The floor that `/score` is measured against: a FastAPI route that reads the same body and answers with ready bytes.

`python -m userip.loadtests.servers.echo FILE PORT` serves it under uvicorn as `service.server` serves ours.
"""

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response


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


def main(answer: str, port: str) -> None:
    """Serve the bytes of the file `answer` on a loopback port until SIGTERM or SIGINT."""
    uvicorn.run(
        make_app(Path(answer).read_bytes()),
        host="127.0.0.1",
        port=int(port),
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
    main(*sys.argv[1:])
