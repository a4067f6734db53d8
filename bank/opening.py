"""From a bank URL to its backend (`bank.backends.BACKENDS`). Nothing is contacted before the first call."""

from importlib import import_module
from typing import cast

from userip.bank.backends import BACKENDS
from userip.bank.errors import BankUrlError
from userip.bank.protocol import AsyncReader, Backend, Bank
from userip.bank.redaction import redact


def open_bank(url: str, *, create: bool = True, timeout_s: float = 10.0, lease_s: float = 15.0) -> Bank:
    """The bank at `url`, for writing and tools.

    create     False: an LMDB directory that does not exist is an error instead of an empty bank
    timeout_s  in which a server must answer
    lease_s    how long a silent publisher counts as alive
    Raises BankUrlError.
    """
    return _backend(url).open_bank(url, create=create, timeout_s=timeout_s, lease_s=lease_s)


def open_reader(url: str, *, deadline_s: float = 0.05, max_connections: int = 32) -> AsyncReader:
    """The bank at `url`, for the service. Raises BankUrlError."""
    return _backend(url).open_reader(url, deadline_s=deadline_s, max_connections=max_connections)


def backend_of(url: str) -> str:
    """Which backend `url` is for: a folder of `bank.backends`. Raises BankUrlError."""
    scheme, mark, _ = url.partition("://")
    if not mark or scheme.lower() not in BACKENDS:
        known = ", ".join(f"{name}://" for name in BACKENDS)
        raise BankUrlError(f"bank {redact(url)!r}: unknown scheme; use one of {known}")
    return BACKENDS[scheme.lower()]


def _backend(url: str) -> Backend:
    return cast("Backend", import_module(f"userip.bank.backends.{backend_of(url)}"))
