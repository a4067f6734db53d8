"""The embedded bank: one LMDB directory, no server. `url` describes its URLs, `reader` its keys and values."""

from userip.bank.backends.lmdb.bank import LmdbBank
from userip.bank.backends.lmdb.reader import LmdbReader
from userip.bank.backends.lmdb.url import parse_url


def open_bank(url: str, *, create: bool, timeout_s: float, lease_s: float) -> LmdbBank:
    """The bank in a directory; with create=False one that does not exist is an error instead of an empty bank."""
    return LmdbBank(parse_url(url), create=create, lease_s=lease_s)


def open_reader(url: str, *, deadline_s: float, max_connections: int) -> LmdbReader:
    """The directory, for the service."""
    return LmdbReader(parse_url(url))
