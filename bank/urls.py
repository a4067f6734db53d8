"""Bank URLs: which backend, where, and with which settings.

    lmdb:///var/lib/userip/bank      lmdb://./bank            ?map_mb=64 (first size of the map; it grows)
    redis://[user[:password]@]host[:port][/database]          rediss:// the same over TLS
    unix://[user[:password]@]/path/redis.sock
    redis+cluster://host[:port]                               rediss+cluster:// the same over TLS

?username= &password= &db= say the same as the parts above; ?password_env=NAME reads the password from the
environment, ?password_file=FILE from a file (without its line end), so that it stays out of the URL.
TLS: ?ca=FILE &cert=FILE &key=FILE &verify=full|ca|none.
Special characters are percent-encoded.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, FilePath, SecretStr, ValidationError

from userip.bank.errors import BankUrlError
from userip.bank.redaction import SCHEMES, redact, shown_setting

if TYPE_CHECKING:
    from userip.bank.protocol import AsyncReader, Bank

__all__ = ["LmdbUrl", "RedisUrl", "open_bank", "open_reader", "parse_url", "redact"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LmdbUrl(_Frozen):
    """An LMDB directory."""

    path: Path
    map_mb: int = Field(default=64, ge=1, le=1 << 24)


class RedisUrl(_Frozen):
    """A Redis server, a Unix socket of one, or a cluster. Passwords never show in a repr."""

    host: str = "127.0.0.1"
    port: int = Field(default=6379, ge=1, le=65535)
    db: int = Field(default=0, ge=0)
    socket: str | None = None
    username: str | None = None
    password: SecretStr | None = None
    tls: bool = False
    cluster: bool = False
    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None
    verify: Literal["full", "ca", "none"] = "full"

    @property
    def where(self) -> str:
        """The server in words that hold no secret, for messages."""
        if self.socket is not None:
            return f"redis at {self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{' cluster' if self.cluster else ''} at {host}:{self.port}"


def parse_url(url: str) -> LmdbUrl | RedisUrl:
    """Read a bank URL. Raises BankUrlError, with the password redacted, naming what is wrong."""
    scheme = url.partition("://")[0].lower()
    if "://" not in url or scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise BankUrlError(f"bank {redact(url)!r}: unknown kind of bank; write one of {known}")
    try:
        return _parse_lmdb(url) if scheme == "lmdb" else _parse_redis(url, scheme)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        setting = ".".join(map(str, first["loc"]))
        raise BankUrlError(f"bank {redact(url)!r}: {setting}: {first['msg']}") from None
    except ValueError:  # urlsplit's own, which may quote a password: a port that is no number, a broken IPv6 address
        raise BankUrlError(f"bank {redact(url)!r}: the host or port cannot be read") from None


def _query(url: str, allowed: tuple[str, ...]) -> dict[str, str]:
    settings: dict[str, str] = {}
    query = urlsplit(url).query
    for part in filter(None, query.split("&")):
        ((name, value),) = parse_qsl(part, keep_blank_values=True)
        if name not in allowed:
            shown = shown_setting(part, query)
            raise BankUrlError(
                f"bank {redact(url)!r}: unknown setting {shown!r}; known here: {', '.join(allowed)}. "
                "Percent-encode special characters of a password"
            )
        if name in settings:
            raise BankUrlError(f"bank {redact(url)!r}: {name} is given twice")
        settings[name] = value
    return settings


def _parse_lmdb(url: str) -> LmdbUrl:
    parts = urlsplit(url)
    if parts.netloc not in ("", ".", ".."):
        raise BankUrlError(
            f"bank {redact(url)!r}: write lmdb:///absolute/path, or lmdb://./path below the working directory"
        )
    path = unquote(parts.netloc + parts.path)
    if path in ("", "/"):
        raise BankUrlError(f"bank {redact(url)!r}: no directory is named; write lmdb:///path/to/bank")
    settings: dict[str, Any] = dict(_query(url, ("map_mb",)))
    # Here, where everybody comes by: readers would ask for a publication, which could not make the directory.
    nearest = next(place for place in (Path(path), *Path(path).parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise BankUrlError(f"bank {redact(url)!r}: {nearest} is no directory; name one, or one that is yet to be made")
    return LmdbUrl(path=Path(path), **settings)


def _set_once(url: str, settings: dict[str, Any], name: str, value: str) -> None:
    if name in settings:
        raise BankUrlError(f"bank {redact(url)!r}: {name} is given twice")
    settings[name] = value


_LOGIN = ("username", "password", "password_env", "password_file")
_TLS = ("ca", "cert", "key", "verify")


def _parse_redis(url: str, scheme: str) -> RedisUrl:
    parts = urlsplit(urlunsplit(urlsplit(url)._replace(fragment="")))
    tls, cluster = scheme.startswith("rediss"), scheme.endswith("+cluster")
    allowed = _LOGIN + (_TLS if tls else ()) + (() if cluster else ("db",))
    settings: dict[str, Any] = dict(_query(url, allowed))
    settings |= {"tls": tls, "cluster": cluster}
    for setting, part in (("username", parts.username), ("password", parts.password)):
        if part:
            _set_once(url, settings, setting, unquote(part))
    if (name := settings.pop("password_env", None)) is not None:
        if name not in os.environ:
            raise BankUrlError(f"bank {redact(url)!r}: password_env: the variable {name} is not set")
        _set_once(url, settings, "password", os.environ[name])
    if (file := settings.pop("password_file", None)) is not None:
        try:
            password = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise BankUrlError(f"bank {redact(url)!r}: password_file: {file}: {error.strerror}") from None
        _set_once(url, settings, "password", password)
    path = unquote(parts.path)
    if scheme == "unix":
        return RedisUrl(socket=_socket(url, parts.path), **settings)
    if not parts.hostname:
        raise BankUrlError(f"bank {redact(url)!r}: no host is named; write {scheme}://host:6379")
    if parts.port is not None:
        settings["port"] = parts.port
    if path.strip("/"):
        if cluster:
            raise BankUrlError(f"bank {redact(url)!r}: a cluster has no numbered databases; remove the path")
        _set_once(url, settings, "db", path.strip("/"))
    return RedisUrl(host=parts.hostname, **settings)


def _socket(url: str, path: str) -> str:
    if path in ("", "/"):
        raise BankUrlError(f"bank {redact(url)!r}: no socket is named; write unix:///path/to/redis.sock")
    if "@" in path:  # one slash too many: the login would be shown as a part of the socket's path
        raise BankUrlError(
            f"bank {redact(url)!r}: an @ in the path; write unix://user:password@/path/to/redis.sock, or %40"
        )
    return unquote(path)


def open_bank(url: str, *, create: bool = True, timeout_s: float = 10.0) -> "Bank":
    """The bank at `url`, for writing and tools. Nothing is contacted before the first call.

    With create=False an LMDB directory that does not exist is an error instead of an empty bank.
    Raises BankUrlError.
    """
    parsed = parse_url(url)
    if isinstance(parsed, LmdbUrl):
        from userip.bank.backends.lmdb.bank import LmdbBank

        return LmdbBank(parsed, create=create)
    from userip.bank.backends.redis.bank import RedisBank

    return RedisBank(parsed, timeout_s=timeout_s)


def open_reader(url: str, *, deadline_s: float = 0.05, max_connections: int = 32) -> "AsyncReader":
    """The bank at `url`, for the service. Nothing is contacted before the first call. Raises BankUrlError."""
    parsed = parse_url(url)
    if isinstance(parsed, LmdbUrl):
        from userip.bank.backends.lmdb.reader import LmdbReader

        return LmdbReader(parsed)
    from userip.bank.backends.redis.reader import RedisReader

    return RedisReader(parsed, deadline_s=deadline_s, max_connections=max_connections)
