"""Bank URLs as they may be shown: without a password, also where they are mistyped and cannot be read."""

import re
from typing import Final

from userip.bank.backends import BACKENDS

# Settings whose values are no secret; whatever else stands in a query could be a password, or the rest of one.
_HARMLESS: Final = ("map_mb", "db", "username", "password_env", "password_file", "ca", "cert", "key", "verify")
_HARMLESS_VALUE: Final = re.compile(r"[^=;#@?]*")
_MISTYPED: Final = re.compile(rf"({'|'.join(map(re.escape, BACKENDS))})[:/]+", re.IGNORECASE)
_HIDDEN: Final = "***"


def redact(url: str) -> str:
    """`url` fit for logs: *** for its password, for values of unknown settings, and for what may be either."""
    scheme, mark, rest = url.partition("://")
    if not mark or not scheme.isascii() or set(scheme) & set("/?#@:"):
        found = _MISTYPED.match(url)
        start = found.group() if found else ""
        hidden, at, place = url[len(start) :].rpartition("@")
        return f"{start}{_HIDDEN if hidden else ''}{at}{_place(place)}"
    if scheme.lower() == "lmdb" and rest.startswith(("/", "./", "../")):
        return f"{scheme}{mark}{_place(rest)}"  # a path: an @ in it follows no password
    login, at, place = rest.rpartition("@")
    name, colon, _ = login.partition(":")
    if set(login) & set("/?#@"):  # a password that is not percent-encoded: where it begins is not certain
        name, colon = _HIDDEN, ""
    return f"{scheme}{mark}{name}{f':{_HIDDEN}' if colon else ''}{at}{_place(place)}"


def shown_setting(part: str, query: str) -> str:
    """The name of an unknown setting in `query`, or *** where it may be a piece of a password."""
    name, equals, _ = part.partition("=")
    return name if equals and "@" not in query else _HIDDEN


def _place(place: str) -> str:
    """Host, port, path and query."""
    place, mark, query = place.partition("?")
    place, hash_mark, _ = place.partition("#")
    host, slash, path = place.partition("/")
    if not host.startswith("["):
        name, colon, port = host.partition(":")
        host = f"{name}{colon}{port if port.isdigit() else _HIDDEN if port else ''}"
    shown = [_setting(part) for part in query.split("&")] if mark else []
    return f"{host}{slash}{path}{hash_mark}{_HIDDEN if hash_mark else ''}{mark}{'&'.join(shown)}"


def _setting(part: str) -> str:
    name, equals, value = part.partition("=")
    if not equals:
        return _HIDDEN if part else ""
    return part if name.lower() in _HARMLESS and _HARMLESS_VALUE.fullmatch(value) else f"{name}={_HIDDEN}"
