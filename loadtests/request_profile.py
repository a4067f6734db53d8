"""Where the microseconds of one `POST /score` go: `python -m userip.loadtests.request_profile --release R --bank URL`.

Every stage is run alone, many times, on the real objects of the service, in this process; what is left of a whole
request is the gate (names, limits, metrics, log). The HTTP server's own share comes on top: see the bench.
Processor time of this process, so that other processes on the machine disturb little.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import typer
import uvloop
from pydantic import SecretStr
from starlette.types import Message, Receive, Scope, Send

from userip.bank.urls import open_reader
from userip.loadtests.traffic.workload import make_workload, population_of_release
from userip.scoring.breaker import Breaker
from userip.scoring.current_release import Serving, load_and_warm_up
from userip.scoring.dataplane import Dataplane, Facts
from userip.scoring.lookup import Profiles
from userip.scoring.messages import ScoreRequest, decode, make_decoders
from userip.scoring.record_cache import RecordCache
from userip.scoring.scorer import Task
from userip.service.http.middleware import Gate, Limits
from userip.service.observe.log import make_logger
from userip.service.observe.metrics import Metrics
from userip.service.observe.request_record import Exchange
from userip.service.routes.hot import hot_answers
from userip.service.settings import Settings
from userip.service.worker import settle_memory

T = TypeVar("T")
_ROUNDS = 7


def profile(
    release: Annotated[Path, typer.Option(help="Release directory.")],
    bank: Annotated[str, typer.Option(help="Bank that holds it.")],
    candidates: Annotated[int, typer.Option(min=1)] = 100,
    seed: int = 0,
) -> None:
    """Print microseconds of processor time per request, stage by stage, best of several rounds."""
    workload = make_workload(population_of_release(release, seed), "/score", candidates, seed=seed)
    bodies = [workload.body(index) for index in range(len(workload))]
    for cache in (100_000, 0):
        settings = Settings(
            release_dir=release, bank_url=SecretStr(bank), cache_records=cache, max_candidates=max(candidates, 1000)
        )
        print(f"{candidates} candidates, record cache {'warm' if cache else 'off'}")
        for name, microseconds in uvloop.run(_measure(settings, bodies)):
            print(f"  {name:<36} {microseconds:8.1f} us")


async def _measure(settings: Settings, bodies: Sequence[bytes]) -> list[tuple[str, float]]:
    release = load_and_warm_up(settings.release_dir, settings.max_candidates)
    reader = open_reader(settings.bank_url.get_secret_value(), deadline_s=1.0, max_connections=4)
    log = make_logger("error")
    profiles = Profiles(reader, log, RecordCache(settings.cache_records, 3600.0), Breaker(0, 1.0))
    dataplane = Dataplane(Serving(settings.release_dir, release, reader, settings.max_candidates), profiles)
    decoders, shape = make_decoders(settings), release.scorer.shape
    hot = hot_answers(dataplane, decoders)
    gate = Gate(_nothing, hot=hot, limits=Limits.of(settings), metrics=Metrics(), log=log, access_log=0)
    requests = [decode(decoders.score, body) for body in bodies]
    rows = [release.item_rows.get(item, 0) for item in requests[0].item_ids]
    task = Task(np.array(rows), 0, (0,) * len(shape.slots), (0,) * len(shape.context))
    settle_memory()

    async def decoded(body: bytes) -> None:
        decode(decoders.score, body)

    async def looked_up(request: ScoreRequest) -> None:
        await profiles.read(release.name, shape, [request.user_id])

    async def run(_: object) -> None:
        release.scorer.run([task])

    async def scored(request: ScoreRequest) -> None:
        await dataplane.score([request], Facts(), batch=False)

    async def answered(body: bytes) -> None:
        await hot["/score"](body, Exchange("", 0.0, "POST"))

    async def asked(body: bytes) -> None:
        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        headers = [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        await gate({"type": "http", "method": "POST", "path": "/score", "headers": headers}, receive, _unheard)

    decoding, lookup, graph = await _best(decoded, bodies), await _best(looked_up, requests), await _best(run, bodies)
    scoring, answering, whole = await _best(scored, requests), await _best(answered, bodies), await _best(asked, bodies)
    await reader.close()
    return [
        ("decode the body", decoding),
        ("profile: the cache, or one bank read", lookup),
        ("item ids to rows, and the like", scoring - lookup - graph),
        ("one run of the graph", graph),
        ("encode the answer", answering - decoding - scoring),
        ("gate: names, limits, metrics", whole - answering),
        ("the whole request, without HTTP", whole),
    ]


async def _best(work: Callable[[T], Awaitable[None]], inputs: Sequence[T]) -> float:
    """Microseconds of one call: the best round's mean, coming back to the loop after each as a server does."""
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.process_time()
        for value in inputs:
            await work(value)
            await asyncio.sleep(0)
        best = min(best, time.process_time() - started)
    return best / len(inputs) * 1e6


async def _nothing(_: Scope, __: Receive, ___: Send) -> None:
    raise AssertionError("only hot routes are asked for")


async def _unheard(_: Message) -> None:
    return None


if __name__ == "__main__":
    typer.run(profile)
