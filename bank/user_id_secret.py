"""The optional secret under which user ids are hashed.

A bank holds no user ids, only places: hashes with a salt that stands beside them. Whoever can read the bank can hash an
id that they know or guess, and see that person's record. With a secret key (HMAC's job; BLAKE2b is keyed by itself)
they cannot. Publisher, fold-in and service read the same secret from the environment, like every command on a bank:

    USERIP_BANK_HMAC_KEY=...            or the name of a file that holds it: USERIP_BANK_HMAC_KEY_FILE=/run/secrets/...

A release remembers in `ReleaseMeta.key_check` that it wants a key, and 8 bytes that tell whether it is this one.
Releases without a key stay readable, so that a key can be introduced with the next release.
"""

import os
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from userip.bank.errors import BankKeyError

VARIABLE: Final = "USERIP_BANK_HMAC_KEY"
_SHORTEST: Final = 16  # characters; what is shorter can be found by trying
_FIX: Final = "create one with `openssl rand -hex 32`"


def user_key() -> bytes:
    """The key of this process, 32 bytes; b"" when none is set. Raises BankKeyError for one that cannot be used."""
    return _derive(os.environ.get(VARIABLE, ""), os.environ.get(f"{VARIABLE}_FILE", ""))


def user_key_of(check: str) -> bytes:
    """The key that a release with this `key_check` wants: b"" for none. Raises BankKeyError if ours is another."""
    if not check:
        return b""
    key = user_key()
    if not key:
        raise BankKeyError(f"the release hides its user ids with a key: set {VARIABLE}, or {VARIABLE}_FILE, to it")
    if key_check(key) != check:
        raise BankKeyError(f"{VARIABLE} is not the key under which the release was published")
    return key


def key_check(key: bytes) -> str:
    """What a release keeps of its key: 8 bytes in hexadecimal from which no key follows; "" for none."""
    return blake2b(digest_size=8, key=key, person=b"userip key check").hexdigest() if key else ""


@lru_cache(maxsize=8)
def _derive(value: str, file: str) -> bytes:
    if value and file:
        raise BankKeyError(f"{VARIABLE} and {VARIABLE}_FILE are both set; remove one")
    if file:
        try:
            value = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise BankKeyError(f"{VARIABLE}_FILE: {file}: {reason}") from None
        if not value.strip():
            raise BankKeyError(f"{VARIABLE}_FILE: {file}: empty; {_FIX}")
    if not value:
        return b""
    value = value.strip()  # the line break of a file, or of what was pasted from one, must make no other key
    if len(value) < _SHORTEST:
        raise BankKeyError(f"{VARIABLE}: shorter than {_SHORTEST} characters, which can be guessed; {_FIX}")
    return blake2b(value.encode(), digest_size=32, person=b"userip user key").digest()
