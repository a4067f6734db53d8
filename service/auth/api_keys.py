"""API keys and their scopes. The service knows their hashes only.

A key file is TOML with one line per key, as `userip create-key` writes it:

    shop = { sha256 = "9f86...", scopes = ["score"] }
    dashboard = { sha256 = "60303...", scopes = ["score", "profile"], rate = 20 }

A key is 256 random bits, so a plain SHA-256 is the right hash: nobody can try 2^256 keys, and slow hashes are for
passwords that people choose. Requests are compared by hash. The first 8 bytes of it find the entry, the rest is
compared in constant time. The time of a lookup says at most something about a hash, which the caller cannot choose and
from which no key follows.
"""

import hmac
import json
import os
import secrets
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from userip.service.errors import StartError, in_sentence

Scope = Literal["score", "profile", "admin"]
SCOPES: Final = get_args(Scope)
ADMIN: Final = "admin"  # the id of the key that `admin_key` sets
_PREFIX: Final = "userip_"  # lets scanners for lost secrets find a key
_INDEX_BYTES: Final = 8
_NOBODY: Final = bytes(32)
_FIX: Final = "`userip create-key` writes such a line"


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `rate` is its own limit in requests a second, None for the setting's."""

    id: str
    digest: bytes  # SHA-256 [32]
    scopes: frozenset[str]
    rate: float | None = None


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    rate: Annotated[float, Field(gt=0)] | None = None


_LINES: Final = TypeAdapter(
    dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")], _Line],
)


class Keyring:
    """The keys that are accepted now."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.digest[:_INDEX_BYTES]: key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, given: bytes) -> Key | None:
        """The key whose text is `given`, or None."""
        digest = sha256(given).digest()
        key = self._keys.get(digest[:_INDEX_BYTES])
        known = hmac.compare_digest(digest, _NOBODY if key is None else key.digest)
        return key if known else None


def read_keys(file: Path) -> list[Key]:
    """The keys of a file. Raises StartError, naming the file, the key and the fix, and showing no value."""
    try:
        with open(file, encoding="utf-8", opener=_without_waiting) as lines:
            if not stat.S_ISREG(os.fstat(lines.fileno()).st_mode):
                raise StartError(f"{file}: not a regular file; {_FIX}")
            text = lines.read()
    except OSError as error:
        raise StartError(f"{file}: {error.strerror}; keys_file names a TOML file of API keys") from None
    except UnicodeDecodeError:
        raise StartError(f"{file}: not UTF-8; {_FIX}") from None
    return parse_keys(text, str(file))


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # for a pipe's other end


def parse_keys(text: str, where: str) -> list[Key]:
    """The keys of a text that stands at `where`. Raises StartError like `read_keys`."""
    try:
        lines = _LINES.validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise StartError(f"{where}: not TOML: {error}; {_FIX}") from None
    except ValidationError as error:
        raise StartError(f"{where}: {_explain(error.errors(include_input=False)[0])}; {_FIX}") from None
    if not lines:
        raise StartError(f"{where}: holds no key; {_FIX}")
    keys = [Key(name, bytes.fromhex(line.sha256), frozenset(line.scopes), line.rate) for name, line in lines.items()]
    first: dict[bytes, str] = {}
    for key in keys:
        if key.digest in first:
            raise StartError(f"{where}: {first[key.digest]} and {key.id} are the same key; {_FIX}")
        first[key.digest] = key.id
    return keys


def admin_key(text: str) -> Key:
    """The key that the setting `admin_key` stands for."""
    return Key(ADMIN, sha256(text.encode()).digest(), frozenset(SCOPES))


def new_key(name: str, scopes: Iterable[str]) -> tuple[str, str]:
    """A new key and its line for the key file. Raises StartError for a name or scopes that cannot be."""
    key = _PREFIX + secrets.token_urlsafe(32)
    listed, quoted = json.dumps(list(dict.fromkeys(scopes))), json.dumps(name)  # strings of JSON are strings of TOML
    line = f'{quoted} = {{ sha256 = "{sha256(key.encode()).hexdigest()}", scopes = {listed} }}'
    parse_keys(line, "new key")
    return key, line


def _explain(error: Mapping[str, Any]) -> str:
    name, *rest = map(str, error["loc"])
    inside = ".".join(part for part in rest if part != "[key]")
    return f"key {name!r}{f', {inside}' if inside else ''}: {in_sentence(error['msg'])}"
