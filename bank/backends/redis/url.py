"""URLs of banks in Redis.

redis://[user[:password]@]host[:port][/database]          rediss:// the same over TLS
unix://[user[:password]@]/path/redis.sock
redis+cluster://host[:port]                               rediss+cluster:// the same over TLS

?username= &password= &db= say the same as the parts above; ?password_env=NAME reads the password from the
environment, ?password_file=FILE from a file (without its line end), so that it stays out of the URL.
TLS: ?ca=FILE &cert=FILE &key=FILE &verify=full|ca|none.
"""

import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import Field, FilePath, SecretStr

from userip.bank.errors import BankUrlError
from userip.bank.redaction import redact
from userip.bank.urls import UrlSettings, query_settings, reading, set_once

_LOGIN = ("username", "password", "password_env", "password_file")
_TLS = ("ca", "cert", "key", "verify")


class RedisUrl(UrlSettings):
    """A Redis server, a Unix socket of one, or a cluster. Passwords never show in a repr."""

    host: str = "127.0.0.1"
    port: int = Field(default=6379, ge=1, le=65535)
    db: int = Field(default=0, ge=0)
    socket: str | None = None
    username: str | None = None
    password: SecretStr | None = None
    password_from: str = "the URL"  # noqa: S105  (words)
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

    @property
    def login(self) -> str:
        """Who logs in with what, in words that hold no secret, for messages."""
        password = "no password" if self.password is None else f"the password from {self.password_from}"
        return f"user {self.username or 'default'!r} with {password}"


def parse_url(url: str) -> RedisUrl:
    """Read the URL. Raises BankUrlError."""
    with reading(url):
        parts = urlsplit(urlunsplit(urlsplit(url)._replace(fragment="")))
        scheme = parts.scheme
        tls, cluster = scheme.startswith("rediss"), scheme.endswith("+cluster")
        allowed = _LOGIN + (_TLS if tls else ()) + (() if cluster else ("db",))
        settings: dict[str, Any] = dict(query_settings(url, allowed))
        settings |= {"tls": tls, "cluster": cluster}
        for setting, part in (("username", parts.username), ("password", parts.password)):
            if part:
                set_once(url, settings, setting, unquote(part))
        _read_password(url, settings)
        if scheme == "unix":
            return RedisUrl(socket=_socket(url, parts.path), **settings)
        if not parts.hostname:
            raise BankUrlError(f"bank {redact(url)!r}: no host given; write {scheme}://host:6379")
        if parts.port is not None:
            settings["port"] = parts.port
        if database := unquote(parts.path).strip("/"):
            if cluster:
                raise BankUrlError(f"bank {redact(url)!r}: a cluster has no numbered databases; remove the path")
            set_once(url, settings, "db", database)
        return RedisUrl(host=parts.hostname, **settings)


def _read_password(url: str, settings: dict[str, Any]) -> None:
    """Put the password of ?password_env and ?password_file into `settings`."""
    if (name := settings.pop("password_env", None)) is not None:
        if name not in os.environ:
            raise BankUrlError(f"bank {redact(url)!r}: password_env: the variable {name} is not set")
        set_once(url, settings, "password", os.environ[name])
        settings["password_from"] = f"the variable {name}"
    if (file := settings.pop("password_file", None)) is not None:
        try:
            password = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise BankUrlError(f"bank {redact(url)!r}: password_file: {file}: {error.strerror}") from None
        set_once(url, settings, "password", password)
        settings["password_from"] = file


def _socket(url: str, path: str) -> str:
    if path in ("", "/"):
        raise BankUrlError(f"bank {redact(url)!r}: no socket given; write unix:///path/to/redis.sock")
    if "@" in path:  # one slash too many: the login would be shown as a part of the socket's path
        raise BankUrlError(
            f"bank {redact(url)!r}: an @ in the path; write unix://user:password@/path/to/redis.sock, or %40"
        )
    return unquote(path)
