"""Starting and stopping the server processes: checks before, uvicorn, and cleaning up after."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from structlog.typing import FilteringBoundLogger

from userip.bank.errors import BankDamagedError, BankRefusedError, BankUnavailableError
from userip.bank.opening import open_reader
from userip.bank.redaction import redact
from userip.release.manifest import read_manifest
from userip.release.private_copy import sweep
from userip.scoring.releases.initial_release import first_directory, load_first
from userip.scoring.releases.release_override import ReleaseOverride
from userip.service.auth.access import load_keys, refuse_open
from userip.service.errors import StartError
from userip.service.observe.log import make_logger, uvicorn_log_config
from userip.service.observe.metrics_files import remove_old
from userip.service.settings import Settings, misspelt_variables

_KEEP_ALIVE_S = 75  # longer than the idle time of usual load balancers, which must be the first to close


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are finished first.

    Raises StartError, ReleaseError, BankUrlError or BankRefusedError, naming what is wrong and the fix.
    """
    signal.signal(signal.SIGTERM, _leave)
    log = make_logger(settings.log_level)
    for name, meant in misspelt_variables(os.environ):
        log.warning("unknown environment variable", variable=name, meant=meant)
    refuse_open(settings)
    if settings.releases_dir is not None and not settings.releases_dir.is_dir():
        raise StartError(f"releases_dir {settings.releases_dir}: no such directory; create it, or remove releases_dir")
    load_keys(settings)  # what is wrong with them is said here, once, in one line
    port = _free_port(settings.host, settings.port)
    directory = first_directory(settings.initial_release, log)
    asyncio.run(_check_bank(settings, directory, read_manifest(directory).release, log))
    shared = _runtime_directory(settings) if settings.workers > 1 else None
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    log.info("listening", url=f"http://{host}:{port}", workers=settings.workers)
    common: dict[str, Any] = {
        "host": settings.host,
        "port": port,
        "loop": "uvloop",
        "http": "userip.service.http.protocol:HardenedHttpProtocol",
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        "log_config": uvicorn_log_config(settings.log_level),
        "proxy_headers": False,
        "server_header": False,
        "timeout_keep_alive": _KEEP_ALIVE_S,
        "timeout_graceful_shutdown": settings.shutdown_seconds,
    }
    if shared is None:
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            # A terminal that is closed loses no request.
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        from userip.service.app import create_app
        from userip.service.worker import settle_memory

        uvicorn.run(create_app(settings, log=log, settle=settle_memory), **common)
    else:
        _run_workers(settings, shared, common, log)


def _runtime_directory(settings: Settings) -> Path:
    """Where workers share counts and overrides, cleared of those of an earlier service. Raises StartError."""
    try:
        shared = settings.runtime_dir or Path(tempfile.mkdtemp(prefix="userip-"))
        shared.mkdir(parents=True, exist_ok=True)
        remove_old(shared)
        override = ReleaseOverride(shared)
        if (old := override.get()) is not None:
            override.clear(old)
        sweep(shared)
    except OSError as error:
        raise StartError(
            f"runtime_dir {settings.runtime_dir}: {error.strerror}; give a directory to write to"
        ) from None
    return shared


def _run_workers(settings: Settings, shared: Path, common: dict[str, Any], log: FilteringBoundLogger) -> None:
    own = settings.model_copy(update={"runtime_dir": shared})
    try:
        load_first(own.initial_release, log)  # a release that no worker could load is refused here, in one line
        os.environ.update(own.environment())
        uvicorn.run("userip.service.worker:make_app", factory=True, workers=settings.workers, **common)
    finally:
        if settings.runtime_dir is None:
            shutil.rmtree(shared, ignore_errors=True)


async def _check_bank(settings: Settings, directory: Path, release: str, log: FilteringBoundLogger) -> None:
    url = settings.bank_url.get_secret_value()
    shown = redact(url)
    missing = StartError(
        f"bank {shown} holds no records of release {release}: run `userip publish --release {directory} --bank {shown}`"
    )
    # Patient, unlike the request path: here a slow answer is better than none.
    reader = open_reader(url, deadline_s=2.0, max_connections=1)
    try:
        if not reader.exists() or (meta := await reader.meta(release)) is None:
            raise missing
        meta.require_key()
        await reader.get_many(release, [""])  # nobody: metadata and records are different rights
    except (BankDamagedError, BankRefusedError):
        raise
    except BankUnavailableError as error:
        log.warning("bank does not answer; scores are served with the default profile", bank=shown, problem=str(error))
    finally:
        await reader.close()


def _free_port(host: str, port: int) -> int:
    """The port to listen on; for 0 a free one. Raises StartError when it is taken or the host is not ours."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}; give --host and --port") from None


def _leave(_: int, __: FrameType | None) -> NoReturn:
    """End with code 0: being told to stop is not a failure."""
    sys.exit(0)
