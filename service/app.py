"""The application: everything that it is made of, wired in one place."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.middleware import Middleware
from structlog.typing import FilteringBoundLogger

from bank.urls import open_reader
from service import problems
from service.admin import admin_routes
from service.dataplane import Dataplane, Facts
from service.hot_routes import hot_routes
from service.log import make_logger
from service.messages import ScoreRequest, make_decoders
from service.metrics import Metrics
from service.middleware import Limited, Observed
from service.openapi import DocumentedApp
from service.probes import not_ready_reasons
from service.profiles import Profiles
from service.reloading import Reloader
from service.routes import open_routes
from service.serving import Serving, load_and_warm_up
from service.settings import Settings


def create_app(
    settings: Settings, *, log: FilteringBoundLogger | None = None, settle: Callable[[], None] | None = None
) -> FastAPI:
    """Make the application that serves `settings.release_dir`.

    The release is loaded and warmed up here, so that a bad one stops the start and no request waits for it.
    `settle` is called once after warm-up, before the first request.
    Raises ReleaseError, ScoringError or BankUrlError.
    """
    log = log or make_logger(settings.log_level)
    metrics = Metrics(settings.runtime_dir)
    release = load_and_warm_up(settings.release_dir, settings.max_candidates)
    metrics.serving(release.name, release.loaded_at)

    reader = open_reader(
        settings.bank_url.get_secret_value(),
        deadline_s=settings.bank_deadline_ms / 1000,
        max_connections=settings.bank_connections,
    )
    serving = Serving(settings.release_dir, release, reader, settings.max_candidates)
    profiles = Profiles(reader, log)
    dataplane = Dataplane(serving, profiles)
    reloader = Reloader(serving, metrics, log, settings.runtime_dir)
    decoders = make_decoders(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower = asyncio.create_task(reloader.follow())
        for reason in await not_ready_reasons(reader, serving.current.name):
            log.warning("not ready", field=reason.field, problem=reason.problem)
        item = next(iter(serving.current.item_rows), "")
        await dataplane.score([ScoreRequest("warm-up", [item])], Facts(), batch=False)
        if settle is not None:
            settle()
        log.info("serving", release=serving.current.name, admin=settings.admin_key is not None)
        yield
        follower.cancel()
        with suppress(asyncio.CancelledError):
            await follower
        await reader.close()
        metrics.leave()
        log.info("stopped", release=serving.current.name)

    app = DocumentedApp(
        title="UserIP",
        summary="Click-through scores from language-model-inferred user profiles.",
        version=_version(),
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url="/openapi.json" if settings.docs else None,
        middleware=[
            Middleware(Observed, metrics=metrics, log=log, access_log=settings.access_log),
            Middleware(Limited, max_in_flight=settings.max_in_flight, max_body_bytes=settings.max_body_bytes),
        ],
    )
    app.decoders = decoders
    app.router.routes[:0] = hot_routes(dataplane, decoders)
    app.include_router(open_routes(dataplane, serving, profiles, metrics, settings))
    if settings.admin_key is not None:
        app.include_router(admin_routes(serving, reloader, settings, log))
    problems.register(app)
    return app


def _version() -> str:
    try:
        return version("userip")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "0"
