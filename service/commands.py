"""`userip serve` and `userip create-key`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from userip.service.errors import StartError
from userip.service.settings import load_settings


def serve(
    *,
    release: Annotated[Path | None, typer.Option(help="Release directory to serve (RUN/release).")] = None,
    bank: Annotated[str | None, typer.Option(help="Bank URL: lmdb:///path, redis://host:port, ...")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [default: 8000]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port. [default: 1]")] = None,
    log_level: Annotated[
        str | None, typer.Option(help="Least severe level that is logged: debug, info, warning or error.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.", envvar="USERIP_CONFIG")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting, as name=value; may be repeated.")
    ] = None,
) -> None:
    """Serve a release over HTTP.

    Settings come from the TOML file, then from the environment (USERIP_MAX_CANDIDATES=500), then from flags.
    """
    flags: dict[str, Any] = dict(_pair(text) for text in set_ or ())
    named = {
        "release_dir": release,
        "bank_url": bank,
        "host": host,
        "port": port,
        "workers": workers,
        "log_level": log_level,
    }
    flags |= {name: value for name, value in named.items() if value is not None}
    settings = load_settings(flags, config)
    from userip.service.server import run

    run(settings)


def create_key(
    name: Annotated[str, typer.Argument(metavar="ID", help="Owner of the key; shown in logs and metrics.")],
    scopes: Annotated[str, typer.Option(help="Its scopes, separated by commas: score, profile, admin.")] = "score",
) -> None:
    """Make an API key: shown this once; the line for the key file holds its hash only."""
    from userip.service.auth.api_keys import new_key

    key, line = new_key(name, scopes.split(","))
    print(f"key, for {name} alone; it is not shown again:\n{key}\n\nline for the key file:\n{line}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise StartError(f"--set {text}: write name=value")
    return name.strip(), value
