"""Authorisation: keys and their scopes, on the route that the router matched, never on a path from a header.

Without API keys (`keys_file`, `keys`) everybody may score and look at profiles, which is for loopback and private
networks: see `refuse_open`. The admin routes want a key in any case.
"""

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader
from structlog.typing import FilteringBoundLogger

from userip.scoring.background import keep_doing
from userip.service.auth.api_keys import Key, Keyring, Scope, admin_key, parse_keys, read_keys
from userip.service.auth.rate_limit import RateLimit
from userip.service.errors import ForbiddenError, RateLimitedError, StartError, UnauthorizedError
from userip.service.observe.request_record import RequestRecord, record_of
from userip.service.settings import Settings

HEADER: Final = "X-API-Key"
SCHEME: Final = APIKeyHeader(name=HEADER, scheme_name="ApiKey", auto_error=False)
_FIELD: Final = HEADER.lower().encode()
_LOOK_EVERY_S: Final = 1.0
_LONG_ENOUGH: Final = 16  # characters of an admin key that a person chose

State = tuple[int, int, int] | None  # of the key file: inode, time, size


class ApiKeyAuth:
    """Knows the keys and asks for them. The key file is read again when it changes; a bad one changes nothing.

    closed  every route but the probes wants a key
    """

    def __init__(self, settings: Settings, log: FilteringBoundLogger) -> None:
        """Raises StartError for keys that cannot be read."""
        self._settings = settings
        self._log = log
        self.closed = is_closed(settings)
        self.has_keys = self.closed or settings.admin_key is not None
        self._state = self._look()
        self._keyring = load_keys(settings)
        self._limit = RateLimit(settings.key_rate, settings.key_burst)
        if settings.admin_key is not None and len(settings.admin_key.get_secret_value()) < _LONG_ENOUGH:
            log.warning("admin_key is too short, so it can be guessed; create one with `userip create-key`")

    def identify(self, headers: Iterable[tuple[bytes, bytes]], record: RequestRecord) -> None:
        """Note whose request it is. Raises RateLimitedError for one too many; two keys are no key."""
        given = [value for name, value in headers if name == _FIELD]
        record.key = key = self._keyring.find(given[0]) if len(given) == 1 else None
        if key is not None and (seconds := self._limit.wait(key.id, key.rate, record.started)):
            raise RateLimitedError(seconds)

    def require(self, scope: Scope | None, record: RequestRecord) -> None:
        """Return if the request may use `scope` (None: any key will do).

        Raises UnauthorizedError without a key, ForbiddenError for one without the scope.
        """
        if not self.closed and scope != "admin":
            return
        if record.key is None:
            raise UnauthorizedError(f"This route needs a key in the {HEADER} header.")
        if scope is not None and scope not in record.key.scopes:
            raise ForbiddenError(scope)

    def needs(self, scope: Scope | None) -> list[Any]:
        """The dependencies of a route that wants `scope`: the check, and its line in the OpenAPI document."""
        if not self.closed and scope != "admin":
            return []

        async def check(request: Request) -> None:
            self.require(scope, record_of(request.scope))

        return [Security(SCHEME, scopes=[scope] if scope else []), Depends(check)]

    def refresh(self) -> None:
        """Read the key file again. One that cannot be read is logged, and the keys before stay."""
        state = self._look()  # before the keys are read, to see what changes meanwhile
        try:
            self._keyring = load_keys(self._settings)
        except StartError as error:
            self._log.error("key file could not be read again; the previous keys are kept", problem=str(error))
        else:
            self._log.info("keys read again", keys=len(self._keyring))
        self._state = state

    async def follow(self) -> None:
        """Read the key file again whenever it has changed; runs until cancelled."""
        if self._settings.keys_file is not None:
            await keep_doing(self._refresh_if_changed, self._log, "key file could not be checked", _LOOK_EVERY_S)

    async def _refresh_if_changed(self) -> None:
        if self._look() != self._state:
            self.refresh()

    def _look(self) -> State:
        if self._settings.keys_file is None:
            return None
        try:
            found = self._settings.keys_file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def is_closed(settings: Settings) -> bool:
    """Whether API keys are set, so that every route but the probes wants one."""
    return settings.keys_file is not None or settings.keys is not None


def load_keys(settings: Settings) -> Keyring:
    """All keys of the settings. Raises StartError, naming the file or variable, and for an id in both."""
    keys: list[Key] = []
    if settings.keys_file is not None:
        keys += read_keys(settings.keys_file)
    if settings.keys is not None:
        keys += parse_keys(settings.keys.get_secret_value(), "setting keys (USERIP_KEYS)")
    if settings.admin_key is not None:
        keys.append(admin_key(settings.admin_key.get_secret_value()))
    for number, key in enumerate(keys):
        if key.id in {other.id for other in keys[:number]}:
            raise StartError(f"two API keys have the id {key.id!r}; give one of them another")
    return Keyring(keys)


def refuse_open(settings: Settings) -> None:
    """Raise StartError for a service that other machines can reach and that asks nobody for a key."""
    if is_closed(settings) or settings.allow_unauthenticated or _is_loopback(settings.host):
        return
    raise StartError(
        f"host {settings.host} can be reached by others, and no API keys are set: put lines of `userip create-key` "
        "into a file and name it with --set keys_file=FILE, or say --set allow_unauthenticated=true where everybody "
        "who gets through may read every profile"
    )


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return True  # it cannot be listened on either, and that error says so
    return all(ipaddress.ip_address(str(place[4][0]).partition("%")[0]).is_loopback for place in found)
