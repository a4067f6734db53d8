"""The application: its parts, its routes, and what it does from its start to its end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from structlog.typing import FilteringBoundLogger

from userip.scoring.background import keep_doing
from userip.scoring.dataplane import Dataplane
from userip.scoring.messages import ScoreRequest
from userip.scoring.request_stats import RequestStats
from userip.service.http import problems
from userip.service.http.hosts import AllowedHosts
from userip.service.http.middleware import Limits, RequestMiddleware
from userip.service.observe.log import AccessLog, make_logger
from userip.service.parts import Parts, make_parts
from userip.service.routes.admin import AdminRoutes, admin_off
from userip.service.routes.decoding import make_decoders
from userip.service.routes.docs_page import docs_page
from userip.service.routes.openapi import document_messages
from userip.service.routes.probes import not_ready_reasons
from userip.service.routes.public import PublicRoutes
from userip.service.routes.score import OTHER_METHODS, hot_routes
from userip.service.settings import Settings

_SHARE_EVERY_S = 0.5
_FORGET_EVERY_S = 1.0  # a forgotten user's profile is served from the cache for no longer


def create_app(
    settings: Settings, *, log: FilteringBoundLogger | None = None, settle: Callable[[], None] | None = None
) -> RequestMiddleware:
    """Make the application that serves `settings.release_dir`, or what the bank says where it follows it.

    The release is loaded and warmed up here, so that a bad one stops the start and no request waits for it.
    `settle` is called once after warm-up, before the first request.
    Raises ReleaseError, ScoringError, ReplicaError, BankUrlError, or StartError for keys that cannot be read.
    """
    parts = make_parts(settings, log or make_logger(settings.log_level))
    decoders, auth = make_decoders(settings), parts.auth
    app = FastAPI(
        title="UserIP",
        summary="Click-through scores from language-model-inferred user profiles.",
        version=parts.version,
        lifespan=partial(_lifespan, parts, settle),
        redirect_slashes=False,
        openapi_url="/openapi.json" if settings.docs else None,
        docs_url=None,  # the framework's own load scripts from other servers
        redoc_url=None,
        # The framework's own would record paths, which hold user ids (see userip.service.observe.tracing for ours).
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        routes=[*OTHER_METHODS],
    )
    app.include_router(PublicRoutes(parts).router())
    app.include_router(AdminRoutes(parts).router() if auth.has_keys else admin_off())
    if settings.docs:
        app.include_router(docs_page())
    problems.register(app)
    document_messages(app, decoders, keyed=auth.closed)
    return RequestMiddleware(
        app,
        hot=hot_routes(parts.dataplane, decoders),
        limits=Limits.of(settings),
        metrics=parts.metrics,
        log=parts.log,
        access_log=AccessLog(parts.log, settings.access_log_sample_rate),
        drain=parts.drain,
        auth=auth,
        trace=None if parts.tracing is None else parts.tracing.trace,
        hosts=None if auth.closed else AllowedHosts(settings.allowed_hosts),
    )


@asynccontextmanager
async def _lifespan(parts: Parts, settle: Callable[[], None] | None, _: FastAPI) -> AsyncIterator[None]:
    """Background work and a warm-up, then requests; at the end everything is stopped and closed."""
    settings, log, current = parts.settings, parts.log, parts.current
    reader = parts.profiles.reader
    share = partial(_share, parts)
    sharing = keep_doing(share, log, "metrics could not be shared with the other workers", _SHARE_EVERY_S)
    forget = partial(_forget, parts)
    forgetting = keep_doing(forget, log, "could not find out whether somebody was forgotten", _FORGET_EVERY_S)
    forever = [parts.sync.follow(), parts.auth.follow(), sharing, forgetting]
    forever += [each.run() for each in (parts.keeper, parts.shadow) if each is not None]
    background = [asyncio.create_task(work) for work in forever]
    for reason in await not_ready_reasons(reader, current.release.name):
        log.warning("not ready", field=reason.field, problem=reason.problem)
    await _warm_up(parts)
    if settle is not None:
        settle()
    parts.drain.on_sigterm(settings.drain_seconds, log)
    log.info("serving", release=current.release.name, keys=parts.auth.closed, admin=parts.auth.has_keys)
    yield
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await reader.close()
    parts.metrics.leave()
    if parts.tracing is not None:
        await asyncio.to_thread(parts.tracing.stop)
    log.info("stopped", release=current.release.name)


async def _warm_up(parts: Parts) -> None:
    """Score one item for nobody, unseen by the shadow, so that no request pays for what is made on first use."""
    item = next(iter(parts.current.release.item_rows), "")
    dataplane = Dataplane(parts.current, parts.profiles)
    await dataplane.score([ScoreRequest("warm-up", [item])], RequestStats(), batch=False)


async def _forget(parts: Parts) -> None:
    await parts.profiles.forget(parts.current.release.name)


async def _share(parts: Parts) -> None:
    """Note how fresh the records are, and tell the other workers what this one counted."""
    metrics, release = parts.metrics, parts.current.release.name
    metrics.updated("records_updated_timestamp_seconds", release, parts.profiles.reader.updated(release))
    if parts.keeper is not None:
        metrics.updated("replica_updated_timestamp_seconds", release, parts.keeper.updated(release))
    metrics.share()
