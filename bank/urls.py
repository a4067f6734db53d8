"""What the URLs of all backends share: settings in the query, one error that names what is wrong and no password.

Special characters are percent-encoded. Which URLs there are is said in `bank.backends.<name>.url`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from userip.bank.errors import BankUrlError
from userip.bank.redaction import redact, shown_setting


class UrlSettings(BaseModel):
    """What a URL says. Frozen; an unknown setting is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Turn what goes wrong with `url` into a BankUrlError, with the password redacted."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        setting = ".".join(map(str, first["loc"]))
        raise BankUrlError(f"bank {redact(url)!r}: {setting}: {first['msg']}") from None
    except ValueError:  # urlsplit's own, which may quote a password: a port that is no number, a broken IPv6 address
        raise BankUrlError(f"bank {redact(url)!r}: the host or port cannot be read") from None


def query_settings(url: str, allowed: tuple[str, ...]) -> dict[str, str]:
    """The settings in the query of `url`. Raises BankUrlError for one that is not `allowed`."""
    settings: dict[str, Any] = {}
    query = urlsplit(url).query
    for part in filter(None, query.split("&")):
        ((name, value),) = parse_qsl(part, keep_blank_values=True)
        if name not in allowed:
            shown = shown_setting(part, query)
            raise BankUrlError(
                f"bank {redact(url)!r}: unknown setting {shown!r}; known here: {', '.join(allowed)}. "
                "Percent-encode special characters of a password"
            )
        set_once(url, settings, name, value)
    return settings


def set_once(url: str, settings: dict[str, Any], name: str, value: str) -> None:
    """Add to `settings`. Raises BankUrlError for what is given twice."""
    if name in settings:
        raise BankUrlError(f"bank {redact(url)!r}: {name} is given twice")
    settings[name] = value
