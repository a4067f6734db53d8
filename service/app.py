"""The application: everything that it is made of, wired in one place."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from structlog.typing import FilteringBoundLogger

from userip.bank.protocol import AsyncReader
from userip.scoring.background import keep_doing
from userip.scoring.current_release import Serving
from userip.scoring.dataplane import Dataplane, Facts
from userip.scoring.initial_release import load_first
from userip.scoring.lookup import make_profiles, reader_of
from userip.scoring.messages import ScoreRequest
from userip.scoring.release_override import Orders
from userip.scoring.release_sync import Reloader
from userip.scoring.replica import ReplicaKeeper
from userip.scoring.shadow import Shadow, make_shadow
from userip.service.auth.access import Guard
from userip.service.http import problems
from userip.service.http.draining import Drain
from userip.service.http.middleware import Gate, Limits
from userip.service.observe.log import make_logger
from userip.service.observe.metrics import Metrics
from userip.service.observe.tracing import make_tracing
from userip.service.routes.admin import admin_routes
from userip.service.routes.decoding import make_decoders
from userip.service.routes.hot import hot_answers, hot_routes
from userip.service.routes.openapi import Application
from userip.service.routes.probes import not_ready_reasons
from userip.service.routes.public import open_routes
from userip.service.settings import Settings

_SHARE_EVERY_S = 0.5


def create_app(
    settings: Settings, *, log: FilteringBoundLogger | None = None, settle: Callable[[], None] | None = None
) -> FastAPI:
    """Make the application that serves `settings.release_dir`, or what the bank says where it follows it.

    The release is loaded and warmed up here, so that a bad one stops the start and no request waits for it.
    `settle` is called once after warm-up, before the first request.
    Raises ReleaseError, ScoringError, BankUrlError, or StartError for keys that cannot be read.
    """
    log = log or make_logger(settings.log_level)
    metrics = Metrics(settings.runtime_dir, _version())
    guard = Guard(settings, log)
    release = load_first(settings.initial_release, log)
    metrics.serving(release.name, release.loaded_at, release.manifest.created)

    reader = reader_of(settings.lookup)
    serving = Serving(settings.release_dir, release, reader, settings.max_candidates, settings.releases_dir)
    keeper = _replica_keeper(settings, serving, log)
    profiles = make_profiles(reader, settings.lookup, log, None if keeper is None else keeper.reader)
    dataplane = Dataplane(serving, profiles)
    shadow = _shadow(settings, metrics, log)
    reloader = Reloader(
        serving,
        reader,
        metrics,
        log,
        Orders(settings.runtime_dir),
        follows=settings.follows,
        every_s=settings.follow_seconds,
    )
    decoders = make_decoders(settings)
    drain = Drain()
    tracing = make_tracing(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        forever = [
            reloader.follow(),
            guard.follow(),
            keep_doing(
                partial(_share, metrics, serving, reader, keeper),
                log,
                "could not share what was counted",
                _SHARE_EVERY_S,
            ),
        ]
        if keeper is not None:
            forever.append(keeper.run())
        background = [asyncio.create_task(work) for work in forever]
        for reason in await not_ready_reasons(reader, serving.current.name, follows=settings.follows):
            log.warning("not ready", field=reason.field, problem=reason.problem)
        item = next(iter(serving.current.item_rows), "")
        await dataplane.score([ScoreRequest("warm-up", [item])], Facts(), batch=False)
        if shadow is not None:
            dataplane.shadow = shadow
            background.append(asyncio.create_task(shadow.run()))
        if settle is not None:
            settle()
        drain.on_sigterm(settings.drain_seconds, log)
        log.info("serving", release=serving.current.name, keys=guard.closed, admin=guard.has_keys)
        yield
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await reader.close()
        metrics.leave()
        if tracing is not None:
            await asyncio.to_thread(tracing.stop)
        log.info("stopped", release=serving.current.name)

    app = Application(
        title="UserIP",
        summary="Click-through scores from language-model-inferred user profiles.",
        version=_version(),
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url="/openapi.json" if settings.docs else None,
        # The framework's own would record paths, which hold user ids (see userip.service.observe.tracing for ours).
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.decoders = decoders
    app.closed = guard.closed
    app.gate = Gate(
        app.behind_the_gate,
        hot=hot_answers(dataplane, decoders),
        limits=Limits.of(settings),
        metrics=metrics,
        log=log,
        access_log=settings.access_log,
        drain=drain,
        guard=guard,
        trace=None if tracing is None else tracing.trace,
    )
    app.router.routes[:0] = hot_routes()
    app.include_router(open_routes(dataplane, serving, profiles, metrics, drain, guard, settings))
    if guard.has_keys:
        app.include_router(admin_routes(serving, reloader, guard, settings, log))
    problems.register(app)
    return app


def _replica_keeper(settings: Settings, serving: Serving, log: FilteringBoundLogger) -> ReplicaKeeper | None:
    if settings.replica_dir is None:
        return None
    url = settings.bank_url.get_secret_value()
    return ReplicaKeeper(url, settings.replica_dir, settings.replica_seconds, serving, log)


def _shadow(settings: Settings, metrics: Metrics, log: FilteringBoundLogger) -> Shadow | None:
    if settings.shadow_release_dir is None:
        return None
    return make_shadow(
        settings.shadow_release_dir,
        settings.shadow_share,
        settings.lookup,
        settings.max_candidates,
        metrics=metrics,
        log=log,
    )


async def _share(metrics: Metrics, serving: Serving, reader: AsyncReader, keeper: ReplicaKeeper | None) -> None:
    """Note how fresh the records are, and tell the other workers what this one counted."""
    release = serving.current.name
    metrics.updated("records_updated_timestamp_seconds", release, reader.updated(release))
    if keeper is not None:
        metrics.updated("replica_updated_timestamp_seconds", release, keeper.updated(release))
    metrics.share()


def _version() -> str:
    try:
        return version("userip")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "0"
