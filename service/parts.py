"""What an application is made of: every part, made once from the settings and given the parts that it needs."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from structlog.typing import FilteringBoundLogger

from userip.scoring.dataplane import Dataplane
from userip.scoring.lookup.profiles import Profiles, make_profiles, reader_of
from userip.scoring.releases.current_release import CurrentRelease
from userip.scoring.releases.initial_release import load_first
from userip.scoring.releases.release_override import ReleaseOverride
from userip.scoring.releases.release_sync import ReleaseSync
from userip.scoring.replica import ReplicaKeeper
from userip.scoring.shadow import Shadow, make_shadow
from userip.service.auth.access import ApiKeyAuth
from userip.service.http.draining import Drain
from userip.service.observe.metrics import Metrics
from userip.service.observe.tracing import Tracing, make_tracing
from userip.service.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of one application; `keeper`, `shadow` and `tracing` are None where they are not set."""

    settings: Settings
    log: FilteringBoundLogger
    version: str
    metrics: Metrics
    auth: ApiKeyAuth
    current: CurrentRelease
    keeper: ReplicaKeeper | None
    profiles: Profiles
    shadow: Shadow | None
    dataplane: Dataplane
    sync: ReleaseSync
    drain: Drain
    tracing: Tracing | None


def make_parts(settings: Settings, log: FilteringBoundLogger) -> Parts:
    """Load the first release and make everything around it. Raises what `create_app` does."""
    metrics = Metrics(settings.runtime_dir, _version())
    auth = ApiKeyAuth(settings, log)
    release = load_first(settings.initial_release, log)
    metrics.serving(release.name, release.loaded_at, release.manifest.created)
    reader = reader_of(settings.lookup)
    current = CurrentRelease(
        settings.release_dir,
        release,
        reader,
        settings.max_candidates,
        settings.releases_dir,
        settings.runtime_dir,
    )
    keeper = _replica_keeper(settings, current, log)
    profiles = make_profiles(reader, settings.lookup, log, None if keeper is None else keeper.reader)
    shadow = _shadow(settings, metrics, log)
    override = ReleaseOverride(settings.runtime_dir)
    return Parts(
        settings=settings,
        log=log,
        version=_version(),
        metrics=metrics,
        auth=auth,
        current=current,
        keeper=keeper,
        profiles=profiles,
        shadow=shadow,
        dataplane=Dataplane(current, profiles, None if shadow is None else shadow.offer),
        sync=ReleaseSync(
            current, reader, metrics, log, override, follows=settings.follows, every_s=settings.follow_seconds
        ),
        drain=Drain(),
        tracing=make_tracing(settings),
    )


def _replica_keeper(settings: Settings, current: CurrentRelease, log: FilteringBoundLogger) -> ReplicaKeeper | None:
    if settings.replica_dir is None:
        return None
    url = settings.bank_url.get_secret_value()
    return ReplicaKeeper(url, settings.replica_dir, settings.replica_seconds, current, log)


def _shadow(settings: Settings, metrics: Metrics, log: FilteringBoundLogger) -> Shadow | None:
    if settings.shadow_release_dir is None:
        return None
    directory, rate = settings.shadow_release_dir, settings.shadow_sample_rate
    largest, shared = settings.max_candidates, settings.runtime_dir
    return make_shadow(directory, rate, settings.lookup, largest, metrics=metrics, log=log, shared=shared)


def _version() -> str:
    try:
        return version("userip")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "0"
