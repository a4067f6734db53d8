"""The walk of one request: whoever wants to know what `/score` does has few files to read."""

import asyncio
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from pydantic import SecretStr

from tests.fixtures.process import ROOT
from tests.fixtures.tiny_release import TinyRelease
from userip.service.app import create_app
from userip.service.observe.log import make_logger
from userip.service.settings import Settings

# In the order of the way, from the socket to the answer and what is told of it. At most 15.
WALK = (
    "service/http/protocol.py",  # parse, and refuse under load
    "service/http/pipelining.py",
    "service/overload/admission.py",
    "service/http/middleware.py",
    "service/routes/score.py",
    "service/routes/decoding.py",
    "scoring/dataplane.py",
    "scoring/releases/loaded_release.py",
    "scoring/lookup/profiles.py",
    "scoring/lookup/record_cache.py",
    "scoring/scorer.py",
    "service/http/hot.py",  # the answer
    "service/observe/metrics.py",  # what is told of it
    "scoring/request_stats.py",
    "service/observe/log.py",
)
BODY = b'{"user_id": "u1", "item_ids": ["plain", "i5"]}'
REQUEST = b"POST /score HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


def test_a_warm_request_enters_few_files(tiny: TinyRelease, lmdb_url: str) -> None:
    """A request over a socket, of a user whom the cache has, enters these files of ours and no other."""
    settings = Settings(release_dir=tiny.path, bank_url=SecretStr(lmdb_url), log_level="error")
    app = create_app(settings, log=make_logger("error"))
    walks = asyncio.run(_walks(app))
    # What goes on in the background now and then is in some of them only.
    assert sorted(set.intersection(*walks)) == sorted(WALK)
    assert len(WALK) <= 15


async def _walks(app: Any) -> list[set[str]]:  # noqa: ANN401  # an application as uvicorn takes it
    """The files of ours that each of some warm requests enters."""
    protocol = "userip.service.http.protocol:HardenedHttpProtocol"
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, log_config=None, proxy_headers=False))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    walks = []
    for number in range(6):
        entered: set[str] = set()

        def note(frame: FrameType, event: str, _: Any, entered: set[str] = entered) -> None:  # noqa: ANN401
            if event == "call":
                entered.add(frame.f_code.co_filename)

        await asyncio.sleep(0.02)
        sys.setprofile(note if number else None)
        writer.write(REQUEST)
        answer = await reader.readuntil(b"}")
        await asyncio.sleep(0)  # what is told of it comes after the answer
        sys.setprofile(None)
        assert b'"profile":"known"' in answer
        if number:
            walks.append({_ours(name) for name in entered} - {""})
    writer.close()
    server.should_exit = True
    await serving
    return walks


def _ours(file: str) -> str:
    """The file below the root of the repository, empty for one of a library or of the tests."""
    path = Path(file).resolve()
    inside = path.is_file() and path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / ".venv")
    name = str(path.relative_to(ROOT)) if inside else ""
    return "" if name.startswith("tests/") else name
