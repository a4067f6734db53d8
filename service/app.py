"""The application: everything that it is made of, wired in one place."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from structlog.typing import FilteringBoundLogger

from userip.bank.protocol import AsyncReader
from userip.scoring.background import keep_doing
from userip.scoring.current_release import CurrentRelease
from userip.scoring.dataplane import Dataplane
from userip.scoring.initial_release import load_first
from userip.scoring.lookup import Profiles, make_profiles, reader_of
from userip.scoring.messages import ScoreRequest
from userip.scoring.release_override import ReleaseOverride
from userip.scoring.release_sync import ReleaseSync
from userip.scoring.replica import ReplicaKeeper
from userip.scoring.request_stats import RequestStats
from userip.scoring.shadow import Shadow, make_shadow
from userip.service.auth.access import ApiKeyAuth
from userip.service.http import problems
from userip.service.http.draining import Drain
from userip.service.http.middleware import Limits, RequestMiddleware
from userip.service.observe.log import AccessLog, make_logger
from userip.service.observe.metrics import Metrics
from userip.service.observe.tracing import make_tracing
from userip.service.routes.admin import AdminRoutes
from userip.service.routes.decoding import make_decoders
from userip.service.routes.hot import OTHER_METHODS, hot_routes
from userip.service.routes.openapi import document_messages
from userip.service.routes.probes import not_ready_reasons
from userip.service.routes.public import PublicRoutes
from userip.service.settings import Settings

_SHARE_EVERY_S = 0.5


def create_app(
    settings: Settings, *, log: FilteringBoundLogger | None = None, settle: Callable[[], None] | None = None
) -> RequestMiddleware:
    """Make the application that serves `settings.release_dir`, or what the bank says where it follows it.

    The release is loaded and warmed up here, so that a bad one stops the start and no request waits for it.
    `settle` is called once after warm-up, before the first request.
    Raises ReleaseError, ScoringError, ReplicaError, BankUrlError, or StartError for keys that cannot be read.
    """
    log = log or make_logger(settings.log_level)
    metrics = Metrics(settings.runtime_dir, _version())
    auth = ApiKeyAuth(settings, log)
    release = load_first(settings.initial_release, log)
    metrics.serving(release.name, release.loaded_at, release.manifest.created)
    reader = reader_of(settings.lookup)
    current = CurrentRelease(settings.release_dir, release, reader, settings.max_candidates, settings.releases_dir)
    keeper = _replica_keeper(settings, current, log)
    profiles = make_profiles(reader, settings.lookup, log, None if keeper is None else keeper.reader)
    shadow = _shadow(settings, metrics, log)
    dataplane = Dataplane(current, profiles, None if shadow is None else shadow.offer)
    override, follows = ReleaseOverride(settings.runtime_dir), settings.follows
    sync = ReleaseSync(current, reader, metrics, log, override, follows=follows, every_s=settings.follow_seconds)
    share = partial(_share, metrics, current, reader, keeper)
    drain, decoders, tracing = Drain(), make_decoders(settings), make_tracing(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sharing = keep_doing(share, log, "metrics could not be shared with the other workers", _SHARE_EVERY_S)
        forever = [sync.follow(), auth.follow(), sharing]
        forever += [each.run() for each in (keeper, shadow) if each is not None]
        async with _in_background(forever):
            await _warm_up(current, profiles, log, follows=follows)
            if settle is not None:
                settle()
            drain.on_sigterm(settings.drain_seconds, log)
            log.info("serving", release=current.release.name, keys=auth.closed, admin=auth.has_keys)
            yield
        await reader.close()
        metrics.leave()
        if tracing is not None:
            await asyncio.to_thread(tracing.stop)
        log.info("stopped", release=current.release.name)

    app = _framework(settings, lifespan)
    app.include_router(PublicRoutes(dataplane, current, profiles, shadow, metrics, drain, auth, settings).router())
    if auth.has_keys:
        app.include_router(AdminRoutes(current, sync, auth, settings, log).router())
    problems.register(app)
    document_messages(app, decoders, keyed=auth.closed)
    return RequestMiddleware(
        app,
        hot=hot_routes(dataplane, decoders),
        limits=Limits.of(settings),
        metrics=metrics,
        log=log,
        access_log=AccessLog(log, settings.access_log_sample_rate),
        drain=drain,
        auth=auth,
        trace=None if tracing is None else tracing.trace,
    )


def _replica_keeper(settings: Settings, current: CurrentRelease, log: FilteringBoundLogger) -> ReplicaKeeper | None:
    if settings.replica_dir is None:
        return None
    url = settings.bank_url.get_secret_value()
    return ReplicaKeeper(url, settings.replica_dir, settings.replica_seconds, current, log)


def _shadow(settings: Settings, metrics: Metrics, log: FilteringBoundLogger) -> Shadow | None:
    if settings.shadow_release_dir is None:
        return None
    return make_shadow(
        settings.shadow_release_dir,
        settings.shadow_sample_rate,
        settings.lookup,
        settings.max_candidates,
        metrics=metrics,
        log=log,
    )


@asynccontextmanager
async def _in_background(forever: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Have work done beside, and end it."""
    tasks = [asyncio.create_task(work) for work in forever]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _warm_up(current: CurrentRelease, profiles: Profiles, log: FilteringBoundLogger, *, follows: bool) -> None:
    """Say what is missing, and score one item for nobody, so that no request pays for what is made on first use."""
    for reason in await not_ready_reasons(profiles.reader, current.release.name, follows=follows):
        log.warning("not ready", field=reason.field, problem=reason.problem)
    item = next(iter(current.release.item_rows), "")
    await Dataplane(current, profiles).score([ScoreRequest("warm-up", [item])], RequestStats(), batch=False)


def _framework(settings: Settings, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    return FastAPI(
        title="UserIP",
        summary="Click-through scores from language-model-inferred user profiles.",
        version=_version(),
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url="/openapi.json" if settings.docs else None,
        # The framework's own would record paths, which hold user ids (see userip.service.observe.tracing for ours).
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        routes=[*OTHER_METHODS],
    )


async def _share(metrics: Metrics, current: CurrentRelease, reader: AsyncReader, keeper: ReplicaKeeper | None) -> None:
    """Note how fresh the records are, and tell the other workers what this one counted."""
    release = current.release.name
    metrics.updated("records_updated_timestamp_seconds", release, reader.updated(release))
    if keeper is not None:
        metrics.updated("replica_updated_timestamp_seconds", release, keeper.updated(release))
    metrics.share()


def _version() -> str:
    try:
        return version("userip")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "0"
